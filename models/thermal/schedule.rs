//! Heating that keeps a comfort band at the least cost, by gradients through the steps of a twin.
//!
//! ```text
//! min Σ_k c_k h Σ_j p_kj,      0 ≤ p_kj ≤ p_max,  low_k ≤ T_k ≤ high_k      (56)
//! ```
//!
//! Powers move by projected Adam on the cost plus an augmented Lagrangian of the band: Σ (max(0, μ + ρ v)² − μ²)/2ρ over violations
//! v, with the multipliers μ ← max(0, μ + ρ v) after every round (M. R. Hestenes, J. Optim. Theory Appl. 4, 303, 1969). The steps are
//! linear, and the same program can be given to a solver of linear programs.

use crate::error::{Error, Result};
use crate::thermal::house::House;
use crate::thermal::kalman::Machine;

/// What is asked for: everything a step, but the powers a heater.
#[derive(Clone, PartialEq, Debug)]
pub struct Demand {
    /// Hours of a step.
    pub h: f64,
    /// Columns that can be chosen.
    pub heaters: Vec<String>,
    /// Their greatest powers, in kW.
    pub most: Vec<f64>,
    /// By step: inputs as the house has them; those of heaters are not read.
    pub inputs: Vec<Vec<f64>>,
    /// By step: the price of a kWh.
    pub price: Vec<f64>,
    /// By step, at its end: the lowest temperature of observed nodes.
    pub low: Vec<f64>,
    /// And the highest.
    pub high: Vec<f64>,
}

/// What heating does.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// By step and heater, in kW.
    pub powers: Vec<Vec<f64>>,
    /// By step, at its end: temperatures of all nodes.
    pub temperatures: Vec<Vec<f64>>,
    /// Σ c h p.
    pub cost: f64,
    /// kWh.
    pub energy: f64,
    /// By how much the band is missed at the worst, in K.
    pub violation: f64,
    /// By how much it is missed in all, over time and observed nodes, in K h.
    pub missed: f64,
    /// Heat in all nodes at the end above where they began, in kWh.
    pub stored: f64,
}

/// A house that is heated from a known state.
#[derive(Clone, Debug)]
pub struct Heated {
    f: Vec<Vec<f64>>,
    /// `[step][node]`: what inputs that are not chosen bring.
    brought: Vec<Vec<f64>>,
    /// `[node][heater]`.
    gain: Vec<Vec<f64>>,
    rooms: Vec<usize>,
    capacities: Vec<f64>,
    start: Vec<f64>,
    demand: Demand,
}

const ROUNDS: usize = 30;
const STEPS: usize = 400;

impl Heated {
    /// A house with these parameters, whose nodes are at `start`.
    ///
    /// # Errors
    /// [`Error::Request`] for a demand that does not fit the house, and a band that is none.
    pub fn new(house: &House, parameters: &[f64], start: &[f64], demand: Demand) -> Result<Self> {
        let refuse = |reason: String| Err(Error::Request(reason));
        let (steps, inputs) = (demand.inputs.len(), house.inputs());
        if steps == 0 || [&demand.price, &demand.low, &demand.high].iter().any(|list| list.len() != steps) {
            return refuse("a schedule needs inputs, prices and a band of the same number of steps".into());
        }
        if let Some(step) = (0..steps)
            .find(|&k| demand.low[k].is_nan() || demand.high[k].is_nan() || demand.low[k] > demand.high[k])
        {
            return refuse(format!(
                "step {}: the band from {} to {} is none",
                step + 1,
                demand.low[step],
                demand.high[step]
            ));
        }
        if let Some(price) = demand.price.iter().find(|price| !(**price >= 0.0 && price.is_finite())) {
            return refuse(format!("a price of {price}: it must be finite and not negative"));
        }
        if demand.most.len() != demand.heaters.len()
            || demand.most.iter().any(|most| !(*most > 0.0 && most.is_finite()))
        {
            return refuse("every heater needs a greatest power above zero".into());
        }
        let mut columns = Vec::new();
        for heater in &demand.heaters {
            let heats = house.nodes.iter().any(|node| node.heat.contains(heater));
            let column = inputs.iter().position(|name| name == heater).filter(|_| heats);
            columns.push(column.ok_or_else(|| Error::Request(format!("`{heater}` heats no node")))?);
        }
        let step = Machine::<f64>::new(house, parameters).transition(demand.h);
        let nodes = house.nodes.len();
        let brought = demand.inputs.iter().map(|u| {
            let u: Vec<f64> =
                u.iter().enumerate().map(|(k, u)| if columns.contains(&k) { 0.0 } else { *u }).collect();
            step.g.apply(&u)
        });
        Ok(Self {
            f: (0..nodes).map(|i| (0..nodes).map(|j| step.f.at(i, j)).collect()).collect(),
            brought: brought.collect(),
            gain: (0..nodes).map(|i| columns.iter().map(|&k| step.g.at(i, k)).collect()).collect(),
            rooms: house.sensors(),
            capacities: parameters[..nodes].to_vec(),
            start: start.to_vec(),
            demand,
        })
    }

    /// What is asked for.
    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    fn next(&self, step: usize, t: &[f64], powers: &[f64]) -> Vec<f64> {
        let row = |i: usize| {
            let own: f64 = self.f[i].iter().zip(t).map(|(f, t)| f * t).sum();
            let heat: f64 = self.gain[i].iter().zip(powers).map(|(g, p)| g * p).sum();
            own + heat + self.brought[step][i]
        };
        (0..t.len()).map(row).collect()
    }

    /// Temperatures under these powers, and what they cost.
    pub fn plan(&self, powers: Vec<Vec<f64>>) -> Plan {
        let Demand { h, price, low, high, .. } = &self.demand;
        let (mut temperatures, mut t) = (Vec::new(), self.start.clone());
        let (mut cost, mut energy, mut violation, mut missed) = (0.0, 0.0, 0.0_f64, 0.0);
        for (step, powers) in powers.iter().enumerate() {
            t = self.next(step, &t, powers);
            let heat = h * powers.iter().sum::<f64>();
            (cost, energy) = (cost + price[step] * heat, energy + heat);
            for &room in &self.rooms {
                let off = (low[step] - t[room]).max(t[room] - high[step]).max(0.0);
                (violation, missed) = (violation.max(off), missed + h * off);
            }
            temperatures.push(t.clone());
        }
        let stored =
            t.iter().zip(&self.start).zip(&self.capacities).map(|((end, start), c)| c * (end - start));
        Plan { stored: stored.sum(), powers, temperatures, cost, energy, violation, missed }
    }

    /// The powers of (56). `watch` is shown the part that is done.
    pub fn cheapest(&self, mut watch: impl FnMut(f64)) -> Plan {
        let Demand { h, most, price, low, high, .. } = &self.demand;
        let (steps, heaters, nodes) = (price.len(), most.len(), self.start.len());
        let mut p: Vec<Vec<f64>> = vec![most.iter().map(|most| 0.5 * most).collect(); steps];
        // Of the lower and the upper end, by step and room.
        let mut multipliers = vec![vec![[0.0; 2]; self.rooms.len()]; steps];
        let scale = price.iter().copied().fold(0.0, f64::max).max(1e-9) * h;
        let rho = 300.0 * scale;
        for round in 0..ROUNDS {
            watch(round as f64 / ROUNDS as f64);
            let (mut first, mut second) = (vec![vec![0.0; heaters]; steps], vec![vec![0.0; heaters]; steps]);
            let reach = 0.05 * 0.7_f64.powi(round as i32).max(1e-4);
            for iteration in 0..STEPS {
                let mut t = self.start.clone();
                let mut pushes = Vec::with_capacity(steps);
                for (step, powers) in p.iter().enumerate() {
                    t = self.next(step, &t, powers);
                    let push: Vec<f64> = self
                        .rooms
                        .iter()
                        .zip(&multipliers[step])
                        .map(|(&room, [below, above])| {
                            (above + rho * (t[room] - high[step])).max(0.0)
                                - (below + rho * (low[step] - t[room])).max(0.0)
                        })
                        .collect();
                    pushes.push(push);
                }
                // The gradient, from the last step to the first.
                let mut lambda = vec![0.0; nodes];
                for step in (0..steps).rev() {
                    for (&room, push) in self.rooms.iter().zip(&pushes[step]) {
                        lambda[room] += push;
                    }
                    for j in 0..heaters {
                        let slope: f64 = (0..nodes).map(|i| lambda[i] * self.gain[i][j]).sum();
                        let gradient = price[step] * h + slope;
                        let (a, b) = (&mut first[step][j], &mut second[step][j]);
                        *a = 0.9 * *a + 0.1 * gradient;
                        *b = 0.99 * *b + 0.01 * gradient * gradient;
                        let n = (iteration + 1) as i32;
                        let (a, b) = (*a / (1.0 - 0.9_f64.powi(n)), *b / (1.0 - 0.99_f64.powi(n)));
                        let decay =
                            0.5 * (1.0 + (std::f64::consts::PI * iteration as f64 / STEPS as f64).cos());
                        let move_ = reach * most[j] * decay * a / (b.sqrt() + 1e-12 * scale);
                        p[step][j] = (p[step][j] - move_).clamp(0.0, most[j]);
                    }
                    lambda = (0..nodes).map(|k| (0..nodes).map(|i| lambda[i] * self.f[i][k]).sum()).collect();
                }
            }
            let plan = self.plan(p.clone());
            for (step, t) in plan.temperatures.iter().enumerate() {
                for (&room, [below, above]) in self.rooms.iter().zip(&mut multipliers[step]) {
                    *below = (*below + rho * (low[step] - t[room])).max(0.0);
                    *above = (*above + rho * (t[room] - high[step])).max(0.0);
                }
            }
        }
        self.plan(p)
    }

    /// An ideal thermostat: in every step the powers that bring observed nodes to their set points at its end, as far as the heaters
    /// can. Every heater serves the observed node that it warms most within a step.
    pub fn thermostat(&self, setpoints: &[f64]) -> Plan {
        let most = &self.demand.most;
        let warmed = |j: usize| {
            // The first of equals.
            let rooms = self.rooms.iter().copied().rev();
            rooms.max_by(|&a, &b| self.gain[a][j].total_cmp(&self.gain[b][j])).expect("a node is observed")
        };
        let rooms: Vec<usize> = (0..most.len()).map(warmed).collect();
        let (mut t, mut all) = (self.start.clone(), Vec::new());
        for (step, &setpoint) in setpoints.iter().enumerate() {
            // Gauss and Seidel on the rooms, with powers held within their limits.
            let idle = self.next(step, &t, &vec![0.0; most.len()]);
            let mut p = vec![0.0; most.len()];
            for _ in 0..200 {
                for (j, &room) in rooms.iter().enumerate() {
                    let others: f64 =
                        (0..most.len()).filter(|&k| k != j).map(|k| self.gain[room][k] * p[k]).sum();
                    let own = self.gain[room][j].max(1e-12);
                    p[j] = ((setpoint - idle[room] - others) / own).clamp(0.0, most[j]);
                }
            }
            t = self.next(step, &t, &p);
            all.push(p);
        }
        self.plan(all)
    }

    /// The highest lower end of the band, always kept.
    pub fn constant(&self) -> Plan {
        let top = self.demand.low.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.thermostat(&vec![top; self.demand.low.len()])
    }

    /// The lower end of the band, raised as many steps ahead of every rise as are needed to miss it by less than `allowed` K h; the
    /// number of steps is told.
    pub fn setback(&self, allowed: f64) -> (Plan, usize) {
        let low = &self.demand.low;
        let ahead = |lead: usize| -> Plan {
            let of = |step: usize| {
                low[step..low.len().min(step + lead + 1)].iter().copied().fold(low[step], f64::max)
            };
            self.thermostat(&(0..low.len()).map(of).collect::<Vec<_>>())
        };
        let mut lead = 0;
        loop {
            let plan = ahead(lead);
            if plan.missed <= allowed || lead >= low.len().min(48) {
                return (plan, lead);
            }
            lead += 1;
        }
    }
}
