//! Circuits of heat in files, and as SPICE netlists.
//!
//! The file is safetensors with a metadata entry `thermograd` that says `{"heat_circuit": VERSION, "surroundings": T_env}` and these
//! arrays of doubles (`I64` for `links` and `ends`), one number a node or a link; what a node or a link does not have is NaN:
//!
//! | array | shape | |
//! |---|---|---|
//! | `capacity`, `latent`, `melts_at`, `melting_width` | nodes | C₀, L, U_m and w of (46); reservoirs have no C₀ |
//! | `leak` | nodes | conductance to the surroundings |
//! | `links` | links, 2 | nodes, from 0 |
//! | `conductance`, `ratio`, `switches_at`, `switching_width` | links | K₀, r, θ_c and w of (47) |
//! | `end` | links | which end it follows |
//!
//! In a netlist a temperature θ is a voltage, heat that flows is a current, a heat capacity is a capacitor and a conductance a
//! resistor: the usual electrothermal analogy. What melts keeps its heat on a capacitor of its own, from which the voltage follows.

use std::collections::HashMap;
use std::fmt::Write;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Problem, Result};
use crate::export::circuit::{check_table, record};
use crate::export::text::{json, text};
use crate::network::heat_circuit::{Capacity, HeatCircuit, Latent, Link, MELTING, Node, Switch};

const FORMAT: &str = "a file of a heat circuit";
const KEY: &str = "thermograd";
const NEWEST: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    heat_circuit: u32,
    surroundings: f64,
}

/// Whether bytes are a file of a heat circuit, sound or not, rather than one of couplings.
pub fn is_heat_circuit(bytes: &[u8]) -> bool {
    let Ok((_, metadata)) = SafeTensors::read_metadata(bytes) else { return false };
    metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(KEY))
        .is_some_and(|head| head.contains("\"heat_circuit\""))
}

impl HeatCircuit {
    /// The bytes of a file.
    ///
    /// # Errors
    /// [`Problem::Container`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        let nodes = self.nodes();
        let of = |f: &dyn Fn(&Capacity) -> f64| -> Vec<f64> {
            let of = |node: &Node| match node {
                Node::Free(capacity) => f(capacity),
                Node::Held => f64::NAN,
            };
            nodes.iter().map(of).collect()
        };
        let latent = |f: &dyn Fn(Latent) -> f64| of(&|capacity| capacity.latent.map_or(f64::NAN, f));
        let switch = |f: &dyn Fn(Switch) -> f64| -> Vec<f64> {
            self.links().iter().map(|link| link.switch.map_or(f64::NAN, f)).collect()
        };
        let doubles = [
            ("capacity", of(&|capacity| capacity.least)),
            ("latent", latent(&|latent| latent.heat)),
            ("melts_at", latent(&|latent| latent.at)),
            ("melting_width", latent(&|latent| latent.width)),
            ("leak", self.leaks().to_vec()),
            ("conductance", self.links().iter().map(|link| link.conductance).collect()),
            ("ratio", switch(&|switch| switch.ratio)),
            ("switches_at", switch(&|switch| switch.at)),
            ("switching_width", switch(&|switch| switch.width)),
        ];
        let links: Vec<i64> = self.links().iter().flat_map(|link| link.ends.map(|end| end as i64)).collect();
        let ends: Vec<i64> =
            self.links().iter().map(|link| link.switch.map_or(-1, |switch| switch.end as i64)).collect();
        let bytes = |values: &[i64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let mut all: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = doubles
            .into_iter()
            .map(|(name, values)| {
                let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                (name, Dtype::F64, vec![values.len()], bytes)
            })
            .collect();
        all.push(("links", Dtype::I64, vec![self.links().len(), 2], bytes(&links)));
        all.push(("end", Dtype::I64, vec![ends.len()], bytes(&ends)));
        all.sort_by_key(|(name, ..)| *name);
        let views = all.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("as many bytes as numbers"))
        });
        let head = Head { heat_circuit: NEWEST, surroundings: self.surroundings() };
        let metadata = HashMap::from([(KEY.to_string(), serde_json::to_string(&head).expect("plain data"))]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| refused(&error.to_string()))
    }

    /// The circuit in the bytes of a file.
    ///
    /// # Errors
    /// [`Error::Couplings`] with what is wrong with the bytes, and those of [`HeatCircuit::new`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| refused(&error.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| refused(&error.to_string()))?;
        let head = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY));
        let head = head.ok_or(Problem::NoDescription("there is no metadata entry `thermograd`"))?;
        let value: serde_json::Value = json(text(head.as_bytes(), FORMAT)?)?;
        let version = value["heat_circuit"]
            .as_u64()
            .ok_or(Problem::NoDescription("this is no heat circuit, but couplings of another machine"))?;
        if version > u64::from(NEWEST) || version == 0 {
            return Err(Problem::Version { found: version, newest: NEWEST }.into());
        }
        let Head { surroundings, .. } =
            serde_json::from_value(value).map_err(|error| Problem::Description(error.to_string()))?;
        let view = |name: &str, dtype: Dtype| -> Result<TensorView<'_>> {
            let view = file.tensor(name).map_err(|_| Problem::Missing(name.into()))?;
            if view.dtype() != dtype {
                let expected = if dtype == Dtype::F64 { "F64" } else { "I64" };
                return Err(Problem::Type {
                    name: name.into(),
                    found: format!("{:?}", view.dtype()),
                    expected,
                }
                .into());
            }
            Ok(view)
        };
        let check = |name: &str, found: &[usize], expected: Vec<usize>| match found == expected {
            true => Ok(()),
            false => Err(Problem::Shape { name: name.into(), found: found.to_vec(), expected }),
        };
        let doubles = |name: &str, count: usize| -> Result<Vec<f64>> {
            let view = view(name, Dtype::F64)?;
            check(name, view.shape(), vec![count])?;
            Ok(view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
        };
        let integers = |name: &str, shape: Vec<usize>| -> Result<Vec<i64>> {
            let view = view(name, Dtype::I64)?;
            check(name, view.shape(), shape)?;
            Ok(view.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
        };
        let count = view("capacity", Dtype::F64)?.shape().iter().product();
        let (capacity, leaks) = (doubles("capacity", count)?, doubles("leak", count)?);
        let latent =
            [doubles("latent", count)?, doubles("melts_at", count)?, doubles("melting_width", count)?];
        let node = |k: usize| {
            if capacity[k].is_nan() {
                return Node::Held;
            }
            let [heat, at, width] = [0, 1, 2].map(|part: usize| latent[part][k]);
            Node::Free(Capacity {
                least: capacity[k],
                latent: (!heat.is_nan()).then_some(Latent { heat, at, width }),
            })
        };
        let nodes = (0..count).map(node).collect();
        let links = view("conductance", Dtype::F64)?.shape().iter().product();
        let (conductance, ends) = (doubles("conductance", links)?, integers("links", vec![links, 2])?);
        let switch =
            [doubles("ratio", links)?, doubles("switches_at", links)?, doubles("switching_width", links)?];
        let follows = integers("end", vec![links])?;
        let link = |k: usize| -> Result<Link> {
            let place = |end: i64| usize::try_from(end).unwrap_or(usize::MAX);
            let [ratio, at, width] = [0, 1, 2].map(|part: usize| switch[part][k]);
            let switch = (!ratio.is_nan()).then(|| Switch { end: place(follows[k]), ratio, at, width });
            Ok(Link {
                ends: [place(ends[2 * k]), place(ends[2 * k + 1])],
                conductance: conductance[k],
                switch,
            })
        };
        Self::new(nodes, (0..links).map(link).collect::<Result<_>>()?, leaks, surroundings)
    }

    /// A netlist for ngspice that runs the circuit without noise for a time, from temperatures θ of all nodes, with reservoirs at theirs
    /// and sources of the given powers, and writes the temperatures of free nodes to `table`. One volt is one unit of θ, one ampere one
    /// of heat per time.
    ///
    /// # Errors
    /// [`Error::Shape`] for lists that do not have a number a node.
    pub fn netlist(&self, theta: &[f64], power: &[f64], time: f64, table: &str) -> Result<String> {
        let count = self.nodes().len();
        for (what, list) in [("temperatures", theta), ("powers", power)] {
            if list.len() != count || list.iter().any(|value| !value.is_finite()) {
                let (found, expected) = (vec![list.len()], vec![count]);
                return Err(Error::Shape { what: format!("{what} (finite)"), found, expected });
            }
        }
        check_table(table)?;
        let mut out = String::from("* a circuit of heat: temperature as voltage, heat as current\n");
        let soft = |x: &str, w: f64| format!("{w:e}*(max(({x})/{w:e},0)+ln(1+exp(-abs(({x})/{w:e}))))");
        for (k, node) in self.nodes().iter().enumerate() {
            match node {
                Node::Held => {
                    let _ = writeln!(out, "V{k} t{k} 0 {:e}", theta[k]);
                }
                Node::Free(Capacity { least, latent: None }) => {
                    let _ = writeln!(out, "C{k} t{k} 0 {least:e} IC={:e}", theta[k]);
                }
                Node::Free(capacity @ Capacity { least, latent: Some(Latent { heat, at, width }) }) => {
                    // The heat is the charge of a capacitor of one farad; what flows into t flows into it.
                    let zero = capacity.temperature(0.0);
                    debug_assert!(zero.abs() < 1e-12);
                    let (low, high) = (format!("V(u{k})-({at:e})"), format!("V(u{k})-({:e})", at + heat));
                    let (a, b) =
                        (soft(&format!("-({at:e})"), *width), soft(&format!("-({:e})", at + heat), *width));
                    let melted = format!("({})-({})-({a})+({b})", soft(&low, *width), soft(&high, *width));
                    let _ = writeln!(out, "C{k} u{k} 0 1 IC={:e}", capacity.heat(theta[k]));
                    let _ = writeln!(out, "B{k} m{k} 0 V=(V(u{k})-{:e}*({melted}))/{least:e}", 1.0 - MELTING);
                    let _ = writeln!(out, "V{k} t{k} m{k} 0");
                    let _ = writeln!(out, "F{k} 0 u{k} V{k} 1");
                }
            }
            if let Node::Free(_) = node {
                if self.leaks()[k] > 0.0 {
                    let _ = writeln!(out, "RL{k} t{k} 0 {:e}", self.leaks()[k].recip());
                }
                if power[k] != 0.0 {
                    let _ = writeln!(out, "I{k} 0 t{k} {:e}", power[k]);
                }
            }
        }
        for (k, Link { ends: [i, j], conductance, switch }) in self.links().iter().enumerate() {
            let both_held = [*i, *j].into_iter().all(|node| self.nodes()[node] == Node::Held);
            match switch {
                _ if both_held => {}
                None => {
                    let _ = writeln!(out, "R{k} t{i} t{j} {:e}", conductance.recip());
                }
                Some(Switch { end, ratio, at, width }) => {
                    let watched = [i, j][*end];
                    let _ = writeln!(
                        out,
                        "BL{k} t{i} t{j} I={conductance:e}*(1+({:e})/(1+exp(-(V(t{watched})-({at:e}))/{width:e})))*(V(t{i})-V(t{j}))",
                        ratio - 1.0
                    );
                }
            }
        }
        let free: Vec<String> =
            (0..count).filter(|&node| self.capacity(node).is_some()).map(|node| format!("t{node}")).collect();
        let step = time / 1000.0;
        let _ = writeln!(out, ".options reltol=1e-6 abstol=1e-12 vntol=1e-9");
        let _ = writeln!(out, ".tran {step:e} {time:e} 0 {step:e} uic");
        record(&mut out, &free, table);
        out.push_str("quit\n.endc\n.end\n");
        Ok(out)
    }
}

fn refused(reason: &str) -> Error {
    Problem::Container { format: FORMAT, reason: reason.into() }.into()
}
