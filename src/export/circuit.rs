//! Couplings as a circuit: a SPICE netlist that follows the Langevin dynamics.
//!
//! A unit is a capacitor C whose voltage v is x. With v = V₀x and t = τ times the reduced time, the equation of
//! motion (3) is Kirchhoff's current law at its node,
//!
//! ```text
//! C dv_i/dt = −I₀μ_i [2J₂(v_i/V₀) + 4J₄(v_i/V₀)³ + h_i + Σ_j J_ij v_j/V₀] + i_n,      I₀ = CV₀/τ      (20)
//! ⟨i_n(t) i_n(t′)⟩ = 2μ_i kT I₀² τ δ(t − t′)
//! ```
//!
//! so the well is a nonlinear conductance, a coupling is a transconductance I₀μJ/V₀ into each of its two nodes, the
//! field (bias and clamped units) is a current source, and the noise is a current source of that spectral density. A
//! resistor R at temperature T has the noise 2k_BT/R; a comment in the netlist gives the resistance with the same
//! noise.
//!
//! Control parameters that move in time (11) are sources of straight lines between knots: the field is such a current; the shift of a
//! well is a voltage that a conductance follows; and gains s multiply the voltage of a unit before it reaches others, and the
//! sum of what reaches it. That sum is the voltage of a node with a resistor of V₀/I₀, at Σ_j J_ij s_j v_j.
//!
//! ngspice's transient noise is a sequence of normals, one every NT, joined by straight lines; their standard
//! deviation is √(2μkT/NT)·I₀ with NT in reduced time. ngspice seeds its generator itself, so two runs differ.

use std::fmt::Write;

use burn::tensor::Tensor;

use crate::error::{Error, Problem, Result};
use crate::network::control::Control;
use crate::network::protocol::Protocol;
use crate::network::substrate::Substrate;
use crate::network::topology::Group;
use crate::schedule::Schedule;
use crate::tensors::to_f64;
use crate::units::thermal_energy;

/// The scales that turn reduced units into SI units of a circuit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Scales {
    /// V₀, volts per unit of x.
    pub volts: f64,
    /// C, the capacitance of a unit.
    pub farads: f64,
    /// τ, seconds per unit of time.
    pub seconds: f64,
    /// The temperature of the bath. It appears only in comments (the equivalent resistor, and kT in joules), not in
    /// any element.
    pub kelvin: f64,
}

impl Scales {
    /// Capacitors of `farads`, with the voltage of their thermal noise as the unit of x: V₀ = √(k_BT/C).
    pub fn thermal(farads: f64, seconds: f64, kelvin: f64) -> Self {
        Self { volts: (thermal_energy(kelvin) / farads).sqrt(), farads, seconds, kelvin }
    }

    /// I₀ = CV₀/τ, amperes per force.
    pub fn amperes(&self) -> f64 {
        self.farads * self.volts / self.seconds
    }

    fn validate(&self) -> Result<()> {
        // Volts are checked last, because they may have been computed from the others.
        let Self { volts, farads, seconds, kelvin } = *self;
        let all = [("farads", farads), ("seconds", seconds), ("kelvin", kelvin), ("volts", volts)];
        match all.into_iter().find(|(_, value)| !(*value > 0.0 && value.is_finite())) {
            Some((name, value)) => {
                Err(Error::Constant { name: name.into(), value, expected: "must be positive" })
            }
            None => Ok(()),
        }
    }
}

/// Refuses a name of a table that a netlist cannot hold.
///
/// # Errors
/// [`Problem::Unsupported`].
pub fn check_table(table: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if table.is_empty() || !table.chars().all(plain) {
        let reason = format!("`{}` cannot be named in a netlist", table.escape_default());
        return Err(Problem::Unsupported(reason).into());
    }
    Ok(())
}

/// Adds commands that run the transient and write the voltages of the nodes to a table.
pub fn record(text: &mut String, nodes: &[String], table: &str) {
    let _ = write!(text, ".control\nset wr_singlescale\nset wr_vecnames\nset numdgt=9\nrun\nwrdata {table}");
    // One name per line, because the lines of a netlist must not be long.
    for node in nodes {
        let _ = write!(text, "\n+ v({node})");
    }
    text.push('\n');
}

/// The control parameters of a circuit at every knot, one number per unit.
struct Moving {
    times: Vec<f64>,
    fields: Vec<Vec<f64>>,
    gains: Option<Vec<Vec<f64>>>,
    wells: Option<Vec<Vec<f64>>>,
}

impl Moving {
    fn of(protocol: &Protocol) -> Result<Self> {
        let controls = protocol.controls();
        if controls[0].kt.is_some() {
            let reason = "a temperature that moves in time cannot be written as a circuit".into();
            return Err(Problem::Unsupported(reason).into());
        }
        let rows = |of: fn(&Control) -> Option<&Tensor<2>>| -> Option<Vec<Vec<f64>>> {
            controls.iter().map(|control| of(control).map(|row| to_f64(row.clone()))).collect()
        };
        let (gains, wells) = (rows(|control| control.gain.as_ref()), rows(|control| control.well.as_ref()));
        let fields = rows(|control| Some(&control.field)).expect("a field at every knot");
        Ok(Self { times: protocol.times().to_vec(), fields, gains, wells })
    }
}

/// A circuit to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Circuit<'a> {
    /// The units and their couplings.
    pub substrate: &'a Substrate,
    /// The control parameters, of one trajectory: h of biases and clamped units, and what moves in time.
    pub protocol: &'a Protocol,
    /// The initial state.
    pub start: &'a [f64],
    /// t_f, and the interval of the noise samples and of the table that is written.
    pub schedule: Schedule,
    /// Volts, farads, seconds.
    pub scales: Scales,
    /// Whether there is noise, at the substrate's kT.
    pub noise: bool,
}

impl Circuit<'_> {
    /// The names of the nodes, in the order of the free units: `<group>_<unit>`, or `g<number of the group>_<unit>`
    /// if a group name is not valid in SPICE.
    pub fn nodes(&self) -> Vec<String> {
        let free: Vec<&Group> = self.substrate.topology().free().collect();
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let lower: std::collections::BTreeSet<String> =
            free.iter().filter(|group| plain(&group.name)).map(|group| group.name.to_lowercase()).collect();
        let named = lower.len() == free.len();
        let name = |(index, group): (usize, &&Group)| match named {
            true => group.name.clone(),
            false => format!("g{index}"),
        };
        let node = |(index, group)| {
            let (name, units): (String, usize) = (name((index, group)), group.units);
            (0..units).map(move |unit| format!("{name}_{unit}")).collect::<Vec<_>>()
        };
        free.iter().enumerate().flat_map(node).collect()
    }

    /// The netlist. Run with `ngspice -b`, it writes time and node voltages as columns to `table`, and prints the
    /// final values of a group `output` and which of them is the largest.
    ///
    /// # Errors
    /// [`Error::Shape`] when control parameters or start are not one number per unit, [`Error::Constant`] for scales that are not
    /// positive, [`Error::Couplings`] when `table` cannot be used as a file name in a netlist, and with
    /// [`Problem::Unsupported`] for a temperature that is a control parameter.
    pub fn netlist(&self, table: &str) -> Result<String> {
        self.scales.validate()?;
        let units = self.substrate.free_units();
        let moving = Moving::of(self.protocol)?;
        let rows =
            moving.fields.iter().chain(moving.gains.iter().flatten()).chain(moving.wells.iter().flatten());
        let rows = rows.map(|row| ("control parameters", &row[..])).chain([("start", self.start)]);
        for (what, values) in rows {
            if values.len() != units || values.iter().any(|value| !value.is_finite()) {
                let (what, found) = (format!("{what} (finite numbers)"), vec![values.len()]);
                return Err(Error::Shape { what, found, expected: vec![units] });
            }
        }
        check_table(table)?;
        let mut text = self.heading(&moving);
        self.elements(&mut text, &moving);
        self.run(&mut text, table);
        Ok(text)
    }

    /// What the numbers mean.
    fn heading(&self, moving: &Moving) -> String {
        let Scales { volts, farads, seconds, kelvin } = self.scales;
        let (amperes, kt) = (self.scales.amperes(), self.substrate.kt());
        let mut text = String::from(
            "* A thermodynamic computer as a circuit, in reduced units of x, time and energy (thermograd)\n",
        );
        let mut say = |line: String| text.push_str(&format!("* {line}\n"));
        let shift = if moving.wells.is_some() { "(J2 + d_i)" } else { "J2" };
        let gains = if moving.gains.is_some() { "s_i s_j " } else { "" };
        say(format!(
            "V = sum_i ({shift} x_i^2 + J4 x_i^4) + sum_i h_i x_i + sum_(ij) {gains}J_ij x_i x_j, each pair of units counted once"
        ));
        if moving.times.len() > 1 {
            let knots = moving.times.len();
            say(format!("h, s and d, where they are, follow straight lines between {knots} knots in time"));
        }
        say("dx_i/dt = -mu dV/dx_i + sqrt(2 mu kT) noise; h: biases and clamped units".into());
        say(format!("x = v / {volts:e} V; time = t / {seconds:e} s; a unit is a capacitor of {farads:e} F"));
        say(format!(
            "a force of 1 at mu = 1 is {amperes:e} A; kT = {kt}, which is {:e} J at {kelvin} K",
            thermal_energy(kelvin)
        ));
        for group in self.substrate.topology().free() {
            let Group { name, units, j2, j4, mobility, .. } = group;
            say(format!(
                "group {}: {units} units, J2 = {j2}, J4 = {j4}, mu = {mobility}",
                name.escape_default()
            ));
            if let (Some(mobility), true) = (mobility.shared(), self.noise && kt > 0.0) {
                let density = 2.0 * mobility * kt * amperes * amperes * seconds;
                let resistance = 2.0 * thermal_energy(kelvin) / density;
                say(format!(
                    "  noise current of {density:.3e} A^2/Hz (two-sided), that of {resistance:.3e} ohm at {kelvin} K"
                ));
            }
        }
        text
    }

    fn elements(&self, text: &mut String, moving: &Moving) {
        let Scales { volts, farads, seconds, .. } = self.scales;
        let source = |rows: &[Vec<f64>], unit: usize, factor: f64| {
            let values = rows.iter().map(|row| factor * row[unit]);
            if rows.len() == 1 {
                return format!("DC {:e}", factor * rows[0][unit]);
            }
            // One knot a line, because the lines of a netlist must not be long.
            let knots = moving.times.iter().zip(values);
            let knots: String =
                knots.map(|(time, value)| format!("\n+ {:e} {value:e}", time * seconds)).collect();
            format!("PWL({knots})")
        };
        let (amperes, kt, dt) = (self.scales.amperes(), self.substrate.kt(), self.schedule.dt);
        let mobility = self.substrate.unit_values(|group, unit| group.mobility.at(unit));
        let j2 = self.substrate.unit_values(|group, unit| group.j2.at(unit));
        let j4 = self.substrate.unit_values(|group, unit| group.j4.at(unit));
        let nodes = self.nodes();
        for (i, node) in nodes.iter().enumerate() {
            let (unit, x) = (amperes * mobility[i], format!("(V({node})/{volts:e})"));
            let _ = writeln!(text, "C_{node} {node} 0 {farads:e}");
            let shift = match &moving.wells {
                Some(wells) => {
                    let _ = writeln!(text, "VD_{node} {node}_d 0 {}", source(wells, i, 1.0));
                    format!("+{:e}*V({node}_d)*{x}", 2.0 * unit)
                }
                None => String::new(),
            };
            let _ = writeln!(
                text,
                "B_{node} {node} 0 I={:e}*{x}+{:e}*{x}*{x}*{x}{shift}",
                2.0 * unit * j2[i],
                4.0 * unit * j4[i]
            );
            let _ = writeln!(text, "IB_{node} {node} 0 {}", source(&moving.fields, i, unit));
            if let Some(gains) = &moving.gains {
                let _ = writeln!(text, "VS_{node} {node}_s 0 {}", source(gains, i, 1.0));
                let _ = writeln!(text, "BX_{node} {node}_x 0 V=V({node}_s)*V({node})");
                let _ = writeln!(text, "R_{node} {node}_f 0 {:e}", volts / amperes);
                let _ = writeln!(text, "BF_{node} {node} 0 I={:e}*V({node}_s)*V({node}_f)", unit / volts);
            }
            if self.noise && kt > 0.0 {
                let sd = amperes * (2.0 * mobility[i] * kt / dt).sqrt();
                let _ = writeln!(text, "IN_{node} 0 {node} DC 0 TRNOISE({sd:e} {:e} 0 0)", dt * seconds);
            }
            let _ = writeln!(text, ".ic V({node})={:e}", self.start[i] * volts);
        }
        // Each pair is a transconductance into both of its nodes, or into their sums.
        let pairs = self.substrate.free_pairs().into_iter();
        let mut pairs: Vec<_> =
            pairs.flat_map(|([i, j], coupling)| [([i, j], coupling), ([j, i], coupling)]).collect();
        pairs.sort_by_key(|&(pair, _)| pair);
        for ([i, j], coupling) in pairs {
            let (own, other, conductance) = (&nodes[i], &nodes[j], amperes * coupling / volts);
            if conductance == 0.0 {
                continue;
            }
            let _ = match &moving.gains {
                Some(_) => writeln!(text, "G_{own}_{other} 0 {own}_f {other}_x 0 {conductance:e}"),
                None => writeln!(text, "G_{own}_{other} {own} 0 {other} 0 {:e}", mobility[i] * conductance),
            };
        }
    }

    fn run(&self, text: &mut String, table: &str) {
        let Scales { volts, farads, seconds, .. } = self.scales;
        let noisy = self.noise && self.substrate.kt() > 0.0;
        // Without noise the path is smooth and is followed closely; with noise, every step ends on a new sample.
        let (relative, over) = if noisy { (1e-3, 7) } else { (1e-5, 1) };
        let _ = writeln!(
            text,
            ".options reltol={relative:e} trtol={over} abstol={:e} vntol={:e} chgtol={:e}",
            1e-5 * self.scales.amperes(),
            1e-5 * volts,
            1e-5 * farads * volts
        );
        let (step, end) = (self.schedule.dt * seconds, self.schedule.duration() * seconds);
        let _ = writeln!(text, ".tran {step:e} {end:e} 0 {step:e} uic");
        record(text, &self.nodes(), table);
        self.read_out(text);
        text.push_str("quit\n.endc\n.end\n");
    }

    /// Prints the final outputs in units of x and which is the largest, that is, the class that a classifier reads.
    fn read_out(&self, text: &mut String) {
        let Ok(outputs) = self.substrate.topology().columns("output") else {
            return;
        };
        text.push_str("let most = -1e99\nlet largest = 0\nlet unit = 0\necho output x\nforeach node");
        for node in &self.nodes()[outputs] {
            let _ = write!(text, "\n+ {node}");
        }
        let volts = self.scales.volts;
        let _ = writeln!(text, "\nlet end = v($node)[length(v($node))-1]/{volts:e}\necho $&unit $&end");
        text.push_str("if end > most\nlet most = end\nlet largest = unit\nend\nlet unit = unit + 1\nend\n");
        text.push_str("echo largest output: $&largest\n");
    }
}
