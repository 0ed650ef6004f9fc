//! Protocols: the [control parameters](crate::network::control) as functions of time.
//!
//! A protocol interpolates h, s, d and kT linearly between its knots, and is constant before the first and after the
//! last. A single field is a protocol that never changes. Changing field, gains or wells does work on the computer.
//! Changing kT, as annealing does, does no work but changes the entropy that a given heat carries
//! ([`Ledger`](crate::Ledger)).

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::network::control::Control;
use crate::network::substrate::Substrate;
use crate::network::topology::{Group, Topology};
use crate::tensors::{check_shape, row, to_f64};

/// Control parameters that are linear in time between knots.
#[derive(Clone, Debug)]
pub struct Protocol {
    times: Vec<f64>,
    controls: Vec<Control>,
}

impl<C: Into<Control>> From<C> for Protocol {
    fn from(control: C) -> Self {
        Self { times: vec![0.0], controls: vec![control.into()] }
    }
}

impl Protocol {
    /// The protocol through `controls` at `times`.
    ///
    /// # Errors
    /// [`Error::Protocol`] unless there is one control per time, times increase, all fields have the same shape, and
    /// each of gains, shifts and temperatures is given at all knots or at none.
    pub fn new(times: Vec<f64>, controls: Vec<Control>) -> Result<Self> {
        let refuse = |reason: String| Err(Error::Protocol(reason));
        check_times(&times)?;
        if times.len() != controls.len() {
            return refuse(format!("{} times for {} knots", times.len(), controls.len()));
        }
        let dims = |row: &Option<Tensor<2>>| row.as_ref().map(Tensor::dims);
        let shape = |c: &Control| (c.field.dims(), dims(&c.gain), dims(&c.well), dims(&c.kt));
        if let Some(odd) = controls.iter().position(|control| shape(control) != shape(&controls[0])) {
            let (found, first) = (shape(&controls[odd]), shape(&controls[0]));
            return refuse(format!(
                "field, gain, well and kT of knot {odd} have shapes {found:?}, of knot 0 {first:?}"
            ));
        }
        Ok(Self { times, controls })
    }

    /// The control parameters at `time`.
    pub fn at(&self, time: f64) -> Control {
        let (knot, fraction) = bracket(&self.times, time);
        match fraction {
            0.0 => self.controls[knot].clone(),
            _ => self.controls[knot].towards(&self.controls[knot + 1], fraction),
        }
    }

    /// The knots that count at `time`, one or two, with their weights.
    pub(crate) fn weights(&self, time: f64) -> impl Iterator<Item = (usize, f64)> + Clone + use<> {
        let (knot, fraction) = bracket(&self.times, time);
        let next = (fraction > 0.0).then_some((knot + 1, fraction));
        [(knot, 1.0 - fraction)].into_iter().chain(next)
    }

    /// Whether it is constant.
    pub fn is_constant(&self) -> bool {
        self.controls.len() == 1
    }

    /// The lowest and the highest kT at any knot; none if the kT of the substrate applies.
    pub(crate) fn temperatures(&self) -> Option<(f64, f64)> {
        let all: Option<Vec<_>> = self.controls.iter().map(|c| c.kt.clone().map(to_f64)).collect();
        let all = all?.concat();
        Some(
            all.iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &kt| (low.min(kt), high.max(kt))),
        )
    }

    /// Refuses control parameters for another number of units.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub(crate) fn check_units(&self, units: usize) -> Result<()> {
        for Control { field, gain, well, kt } in &self.controls {
            check_shape("field", field.dims(), [field.dims()[0], units])?;
            for row in [gain, well].into_iter().flatten() {
                check_shape("gain or well", row.dims(), [1, units])?;
            }
            if let Some(kt) = kt {
                check_shape("kT", kt.dims(), [kt.dims()[0], 1])?;
            }
        }
        Ok(())
    }

    /// Refuses control parameters for another number of units or of trajectories.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub(crate) fn check(&self, units: usize, batch: usize) -> Result<()> {
        self.check_units(units)?;
        for Control { field, kt, .. } in &self.controls {
            for (what, row) in [("field", Some(field)), ("kT", kt.as_ref())] {
                let Some([rows, columns]) = row.map(Tensor::dims) else { continue };
                check_shape(what, [rows, columns], [if rows == 1 { 1 } else { batch }, columns])?;
            }
        }
        Ok(())
    }

    /// Whether V is constant: nothing changes, or only the temperature. A protocol without temperatures is assumed to
    /// change V; its knots are not compared.
    pub(crate) fn keeps_energy(&self) -> bool {
        let values = |row: &Option<Tensor<2>>| row.clone().map(|row| to_f64(row.inner()));
        let of = |c: &Control| (to_f64(c.field.clone().inner()), values(&c.gain), values(&c.well));
        let alike = |pair: &[Control]| of(&pair[0]) == of(&pair[1]);
        self.is_constant() || (self.controls[0].kt.is_some() && self.controls.windows(2).all(alike))
    }

    /// The times of the knots.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// The control parameters at every knot.
    pub(crate) fn controls(&self) -> &[Control] {
        &self.controls
    }

    /// The protocol with `change` applied at all knots.
    pub(crate) fn map(self, change: impl Fn(Control) -> Control) -> Self {
        Self { controls: self.controls.into_iter().map(change).collect(), ..self }
    }

    /// The control parameters of `steps` recorded steps of `dt`, as rows that list the batch step by step, or one row
    /// for all if they do not differ.
    pub(crate) fn rows(&self, batch: usize, steps: usize, dt: f64) -> Control {
        let first = &self.controls[0];
        if self.is_constant() {
            let repeated = |row: &Tensor<2>| match row.dims()[0] {
                1 => row.clone(),
                _ => row.clone().repeat_dim(0, steps),
            };
            let (field, kt) = (repeated(&first.field), first.kt.as_ref().map(repeated));
            return Control { field, kt, ..first.clone() };
        }
        let all = |row: Tensor<2>| {
            let [rows, columns] = row.dims();
            if rows == batch { row } else { row.expand([batch, columns]) }
        };
        let controls: Vec<Control> = (0..steps).map(|step| self.at(step as f64 * dt)).collect();
        let rows = |row: &dyn Fn(&Control) -> Option<Tensor<2>>| {
            let rows: Option<Vec<_>> = controls.iter().map(|control| row(control).map(all)).collect();
            rows.map(|rows| Tensor::cat(rows, 0))
        };
        Control {
            field: rows(&|control| Some(control.field.clone())).expect("every control has a field"),
            gain: rows(&|control| control.gain.clone()),
            well: rows(&|control| control.well.clone()),
            kt: rows(&|control| control.kt.clone()),
        }
    }
}

/// A protocol as part of a trained computer: the times of its knots and the values there.
///
/// A clamped group of such a computer has one set of units per knot: unit k·w + j of a group that carries w values
/// belongs to knot k, and is held at value j times the weight of that knot (one there, falling linearly to zero at
/// the neighbouring knots). The couplings to clamped units, which are constants, thereby encode the fields as
/// functions of time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Course {
    /// The times of the knots.
    pub times: Vec<f64>,
    /// The gain of the units of a free group at each knot, one for all of them or one for each, `[knot, unit]` row-major; groups
    /// that are not listed have gain one.
    pub gains: BTreeMap<String, Vec<f64>>,
    /// The shift added to J₂ of each unit of a free group at each knot, `[knot, unit]` row-major; groups that are not
    /// listed have none.
    pub wells: BTreeMap<String, Vec<f32>>,
    /// kT at each knot, an annealing schedule; if none, the kT of the substrate applies throughout.
    pub kt: Option<Vec<f64>>,
}

impl Course {
    /// Checks that times increase and every group fits the knots.
    ///
    /// # Errors
    /// [`Error::Protocol`], and [`Error::Topology`] when a group with gains is not one of the free groups.
    pub fn validate(&self, topology: &Topology) -> Result<()> {
        check_times(&self.times)?;
        let knots = self.times.len();
        for (name, gains) in &self.gains {
            let units = topology.columns(name)?.len();
            if ![knots, knots * units].contains(&gains.len())
                || gains.iter().any(|gain| !(*gain as f32).is_finite())
            {
                return Err(Error::Protocol(format!(
                    "gains of `{name}` are neither one number nor {units} for each of {knots} knots"
                )));
            }
        }
        for (name, wells) in &self.wells {
            let units = topology.columns(name)?.len();
            if wells.len() != knots * units || wells.iter().any(|shift| !shift.is_finite()) {
                return Err(Error::Protocol(format!(
                    "wells of `{name}` are not {units} numbers for each of {knots} knots"
                )));
            }
        }
        let bath = |kt: &f64| *kt >= 0.0 && kt.is_finite();
        if self.kt.as_ref().is_some_and(|kt| kt.len() != knots || !kt.iter().all(bath)) {
            let reason = format!("kT is not one number, finite and not negative, for each of {knots} knots");
            return Err(Error::Protocol(reason));
        }
        match topology.clamped().find(|group| !group.units.is_multiple_of(knots)) {
            Some(Group { name, units, .. }) => Err(Error::Protocol(format!(
                "the {units} units of clamped group `{name}` do not divide into {knots} knots"
            ))),
            None => Ok(()),
        }
    }
}

/// The gain of a unit at a knot, of one gain a knot or one a knot and unit.
pub(crate) fn gain_of(gains: &[f64], knots: usize, knot: usize, unit: usize) -> f64 {
    let each = gains.len() / knots;
    gains[knot * each + unit % each]
}

fn check_times(times: &[f64]) -> Result<()> {
    if times.is_empty() || !times[0].is_finite() {
        return Err(Error::Protocol("there are no knots".into()));
    }
    match (1..times.len()).find(|&k| times[k] <= times[k - 1] || !times[k].is_finite()) {
        Some(knot) => {
            let (time, last) = (times[knot], times[knot - 1]);
            Err(Error::Protocol(format!("knot {knot} at t = {time} does not follow t = {last}")))
        }
        None => Ok(()),
    }
}

impl Substrate {
    /// The protocol of a course for given clamped values.
    ///
    /// # Shapes
    /// `clamped`: one `[batch, values]` per clamped group, in order.
    ///
    /// # Errors
    /// [`Error::Shape`] when the units of a clamped group are not its values times the number of knots,
    /// [`Error::Protocol`] when gains and times have different numbers of knots, [`Error::Topology`] when a group
    /// with gains is unknown.
    pub fn protocol(&self, course: &Course, clamped: &[Tensor<2>]) -> Result<Protocol> {
        course.validate(self.topology())?;
        let knots = course.times.len();
        let control = |knot: usize| -> Result<Control> {
            let held = |values: &Tensor<2>| {
                let zero = values.zeros_like();
                let at = |other: usize| if other == knot { values.clone() } else { zero.clone() };
                Tensor::cat((0..knots).map(at).collect(), 1)
            };
            let field = self.field(&clamped.iter().map(held).collect::<Vec<_>>())?;
            let gain = |group: &Group, unit| {
                course.gains.get(&group.name).map_or(1.0, |gains| gain_of(gains, knots, knot, unit))
            };
            let well = |group: &Group, unit| {
                let shift = |wells: &Vec<f32>| f64::from(wells[knot * group.units + unit]);
                course.wells.get(&group.name).map_or(0.0, shift)
            };
            Ok(Control {
                field,
                gain: (!course.gains.is_empty()).then(|| self.unit_row(gain)),
                well: (!course.wells.is_empty()).then(|| self.unit_row(well)),
                kt: course.kt.as_ref().map(|kt| row(vec![kt[knot]], self.options())),
            })
        };
        let controls: Result<Vec<_>> = (0..knots).map(control).collect();
        Protocol::new(course.times.clone(), controls?)
    }
}

/// The knot before `time`, and the fraction of the way from it to the next.
fn bracket(times: &[f64], time: f64) -> (usize, f64) {
    let last = times.len() - 1;
    if time <= times[0] {
        return (0, 0.0);
    }
    if time >= times[last] {
        return (last, 0.0);
    }
    let next = times.partition_point(|&knot| knot <= time);
    (next - 1, (time - times[next - 1]) / (times[next] - times[next - 1]))
}

/// The weights of the knots at `time`: at most two are not zero, and they sum to one. If a clamped unit is held at
/// the weight of its knot, its couplings define the field at that knot.
pub fn weights(times: &[f64], time: f64) -> Vec<f64> {
    let mut weights = vec![0.0; times.len()];
    let (knot, fraction) = bracket(times, time);
    weights[knot] = 1.0 - fraction;
    if fraction > 0.0 {
        weights[knot + 1] = fraction;
    }
    weights
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn constant(value: f64) -> Control {
        let row = Tensor::<2>::full([1, 2], value, &Device::flex());
        Control { gain: Some(row.clone() * 2.0), ..Control::from(row) }.with_kt(3.0 + value)
    }

    #[test]
    fn protocols_are_linear_between_knots_and_constant_outside() {
        let protocol = Protocol::new(vec![0.0, 1.0, 3.0], [0.0, 2.0, -2.0].map(constant).into()).unwrap();
        for (time, expected) in
            [(-1.0, 0.0), (0.0, 0.0), (0.25, 0.5), (1.0, 2.0), (2.0, 0.0), (3.0, -2.0), (9.0, -2.0)]
        {
            let control = protocol.at(time);
            let value = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().unwrap()[0];
            assert_eq!(value(control.field), expected, "at {time}");
            assert_eq!(value(control.gain.unwrap()), 2.0 * expected, "at {time}");
            assert_eq!(value(control.kt.unwrap()), 3.0 + expected, "at {time}");
            let weights = weights(&[0.0, 1.0, 3.0], time);
            let sum: f64 = weights.iter().zip([0.0, 2.0, -2.0]).map(|(w, v)| w * v).sum();
            assert!((sum - f64::from(expected)).abs() < 1e-12 && weights.iter().sum::<f64>() == 1.0);
        }
        assert_eq!(protocol.temperatures(), Some((1.0, 5.0)));
    }

    #[test]
    fn nonsense_is_refused() {
        let two = || vec![constant(0.0), constant(1.0)];
        for times in [vec![0.0], vec![0.0, 0.0], vec![1.0, 0.0], vec![0.0, f64::NAN], vec![]] {
            assert!(matches!(Protocol::new(times, two()), Err(Error::Protocol(_))));
        }
        let odd = Control { gain: None, ..constant(0.0) };
        assert!(Protocol::new(vec![0.0, 1.0], vec![odd, constant(1.0)]).is_err());
    }
}
