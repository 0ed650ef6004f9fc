//! A thermodynamic computer that makes images from noise.
//!
//! Visible units, one per pixel, and hidden units start as thermal noise of the untrained computer. They run for t_f
//! with the trained couplings, and then the visible units are read (S. Whitelam, PRL 136, 037101 (2026): 784 visible
//! and 512 hidden units, J₂ = J₄ = μ = 1, kT = 0.1, t_f = 2.5). A computer that stores a few images
//! ([`stored`](crate::generator::stored)) and one that draws digits of ten classes
//! ([`classes`](crate::generator::classes)) differ in groups and protocols; sampling is the same.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use serde::{Deserialize, Serialize};
use thermograd::{
    Couplings, Course, Group, Key, Ledger, Protocol, Schedule, Shards, Step, Substrate, Well, ranks, to_f64,
};

use crate::error::{Error, Result};
use crate::generator::adiabatic::{ADIABATIC_STEP, Adiabatic};
use crate::generator::local;
use crate::generator::noising::Noising;

/// A computer with a group `visible` and a group `hidden`, its protocol and its read-out time.
#[derive(Clone, Debug)]
pub struct Generator {
    /// The computer.
    pub substrate: Substrate,
    /// How its control parameters change in time; they are constant if none.
    pub course: Option<Course>,
    /// Δt and t_f.
    pub schedule: Schedule,
    /// The noising it was trained on, which sets the scale of its images.
    pub noising: Noising,
}

/// How hidden units are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenUnits {
    /// Simulated, like the units of the device.
    #[default]
    Langevin,
    /// Replaced by their mean, as if they were infinitely fast and independent; only visible units are simulated.
    Adiabatic,
}

/// A request for images.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// The number of images.
    pub count: usize,
    /// Their classes, if the computer has labels.
    pub labels: Option<Vec<usize>>,
    /// The value of the clamped label unit.
    pub label_strength: f64,
    /// How hidden units are treated.
    pub hidden: HiddenUnits,
    /// The number of images whose heat and work are added up if a protocol does work, which doubles their time. At
    /// constant couplings the heat of every image follows from its initial and final state.
    pub accounts: usize,
}

/// Images from noise, in the scale of pixels: −1 black, 1 white.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Samples {
    /// Visible units at t_f, divided by the mean of a unit held at a white pixel. Row-major `[image, pixel]`.
    pub raw: Vec<f32>,
    /// Force of couplings and field on the visible units at t_f, divided by that of a white pixel. To read it, a
    /// device must measure forces.
    pub force: Vec<f32>,
    /// Heat given to the bath by each image that is accounted for, in units of kT.
    pub heat: Vec<f64>,
    /// Work done by the protocol on each image that is accounted for, in units of kT.
    pub work: Vec<f64>,
}

impl Samples {
    fn append(&mut self, other: Self) {
        self.raw.extend(other.raw);
        self.force.extend(other.force);
        self.heat.extend(other.heat);
        self.work.extend(other.work);
    }
}

impl Generator {
    /// Makes a generator of any substrate with free groups `visible`, `hidden` and perhaps `local`.
    ///
    /// # Errors
    /// [`thermograd::Error::Topology`] for other free groups.
    pub fn new(
        substrate: Substrate,
        course: Option<Course>,
        schedule: Schedule,
        noising: Noising,
    ) -> Result<Self> {
        let free: Vec<&str> = substrate.topology().free().map(|group| group.name.as_str()).collect();
        if !matches!(free[..], ["visible", "hidden"] | ["visible", "hidden", "local"]) {
            let reason = format!(
                "a generator has the free groups visible, hidden and perhaps local, and this network {}",
                free.join(", ")
            );
            return Err(thermograd::Error::Topology(reason).into());
        }
        Ok(Self { substrate, course, schedule, noising })
    }

    /// Makes a generator from exported couplings that were trained with `noising`.
    ///
    /// # Errors
    /// Those of [`Couplings::substrate`] and [`new`](Self::new).
    pub fn from_couplings(
        couplings: &Couplings,
        noising: Noising,
        options: impl Into<TensorCreationOptions>,
    ) -> Result<Self> {
        let schedule = couplings.description.schedule;
        Self::new(couplings.substrate(options)?, couplings.course(), schedule, noising)
    }

    /// Its couplings, for export.
    pub fn couplings(&self) -> Couplings {
        Couplings::of(&self.substrate, self.schedule, None).from_noise().with_course(self.course.clone())
    }

    /// The same generator with other couplings.
    pub fn with_substrate(&self, substrate: Substrate) -> Self {
        Self { substrate, ..self.clone() }
    }

    /// The same generator with all couplings and biases multiplied by `gain`.
    ///
    /// # Errors
    /// None for a finite gain.
    pub fn amplified(&self, gain: f64) -> Result<Self> {
        let mut substrate = self.substrate.valid();
        for index in 0..substrate.topology().blocks.len() {
            let coupling = substrate.coupling(index) * gain;
            substrate = substrate.with_coupling(index, coupling)?;
        }
        let bias = substrate.bias() * gain;
        Ok(self.with_substrate(substrate.with_bias(bias)?))
    }

    /// The number of pixels of an image.
    pub fn pixels(&self) -> usize {
        self.visible().units
    }

    /// The number of classes that can be requested; none if the computer has no labels.
    pub fn classes(&self) -> Option<usize> {
        let labels = self.substrate.topology().clamped().find(|group| group.name == "label")?;
        Some(labels.units / self.course.as_ref().map_or(1, |course| course.times.len()))
    }

    /// The rows and columns of places where local hidden units share the couplings of one filter, on images of this width.
    pub fn places(&self, width: usize) -> [usize; 2] {
        local::places([self.pixels() / width, width])
    }

    /// The units that are pixels.
    pub fn visible(&self) -> &Group {
        let mut free = self.substrate.topology().free();
        free.find(|group| group.name == "visible").expect("a generator's group")
    }

    /// The mean of a visible unit that is held at a white pixel; dividing by it turns visible units into pixels.
    ///
    /// # Errors
    /// Those of [`Well::new`].
    pub fn white(&self) -> Result<f64> {
        let well = Well::new(self.visible(), self.substrate.kt(), self.noising.field)?;
        Ok(well.equilibrium(self.noising.field).moments().0)
    }

    /// The values of the clamped groups for some images of a request that has been checked.
    pub(crate) fn clamped(&self, request: &Request, rows: Range<usize>) -> Vec<Tensor<2>> {
        let options = self.substrate.options();
        let label = |classes: usize| -> Tensor<2> {
            let labels = request.labels.as_ref().expect("a request with labels");
            let mut values = vec![0.0_f32; rows.len() * classes];
            for (row, &label) in labels[rows.clone()].iter().enumerate() {
                values[row * classes + label] = request.label_strength as f32;
            }
            Tensor::from_data(TensorData::new(values, [rows.len(), classes]), options.clone())
        };
        let values = self.substrate.topology().clamped().map(|group| match group.name.as_str() {
            "label" => label(self.classes().expect("a label group")),
            _ => Tensor::ones([rows.len(), 1], options.clone()),
        });
        values.collect()
    }

    /// Refuses a request that this computer cannot meet.
    fn check(&self, request: &Request) -> Result<()> {
        let refuse = |reason: String| Err(Error::Request(reason));
        if request.count == 0 {
            return refuse("no images are requested".into());
        }
        match (self.classes(), &request.labels) {
            (None, Some(_)) => refuse("classes are requested, but this computer has no label units".into()),
            (Some(classes), None) => refuse(format!("this computer draws {classes} classes; choose one")),
            (Some(classes), Some(labels)) => {
                if labels.len() != request.count {
                    return refuse(format!("{} labels for {} images", labels.len(), request.count));
                }
                match labels.iter().find(|&&label| label >= classes) {
                    Some(label) => {
                        refuse(format!("class {label} is not one of the {classes} classes of this computer"))
                    }
                    None => Ok(()),
                }
            }
            (None, None) => Ok(()),
        }
    }

    /// The course of the control parameters for some images of a request.
    pub(crate) fn protocol(&self, clamped: &[Tensor<2>]) -> Result<Protocol> {
        Ok(match &self.course {
            Some(course) => self.substrate.protocol(course, clamped)?,
            None => self.substrate.field(clamped)?.into(),
        })
    }

    /// Draws images. `progress` receives the fraction that is done.
    ///
    /// # Errors
    /// [`Error::Request`] for what this computer cannot draw, and those of [`Substrate::simulate`].
    pub fn sample(
        &self,
        request: &Request,
        shards: Shards,
        key: Key,
        mut progress: impl FnMut(f64),
    ) -> Result<Samples> {
        self.check(request)?;
        let this = self.with_substrate(self.substrate.valid());
        let chunk = shards.size.saturating_mul(shards.threads * ranks::count()).min(request.count);
        let mut samples = Samples::default();
        for start in (0..request.count).step_by(chunk) {
            let count = chunk.min(request.count - start);
            let drawn = shards.gather(count, |range| {
                let rows = start + range.start..start + range.end;
                this.draw(request, rows, key, |_, _| {})
            });
            for one in drawn? {
                samples.append(one);
            }
            progress((start + count) as f64 / request.count as f64);
        }
        Ok(samples)
    }

    /// The states of all images of a request at the last knot but one, and the time from there to the end. Up to it hidden units are at
    /// their mean, and then in equilibrium without couplings.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub(crate) fn at_the_last_knot_but_one(&self, request: &Request, key: Key) -> Result<(Tensor<2>, f64)> {
        self.check(request)?;
        let protocol = self.protocol(&self.clamped(request, 0..request.count))?;
        let end = self.schedule.duration();
        let times = self.course.as_ref().map_or(&[][..], |course| &course.times);
        let until = times.len().checked_sub(2).map_or(0.0, |knot| times[knot].clamp(0.0, end));
        let x0 = self.substrate.uncoupled_equilibrium(request.count, key.fork("noise"))?;
        let (pixels, units) = (self.pixels(), x0.dims()[1]);
        let hidden = x0.clone().slice_dim(1, pixels..units);
        let steps = (until / ADIABATIC_STEP).ceil() as usize;
        if steps == 0 {
            return Ok((x0, end));
        }
        let fast = Adiabatic::new(&self.substrate, &protocol)?;
        let feedback = |time: f64, x: &Tensor<2>| -fast.force(time, x);
        let (x0, schedule) = (x0.slice_dim(1, 0..pixels), Schedule { dt: until / steps as f64, steps });
        let x = fast.visible.simulate_with_feedback(x0, feedback, schedule, key, |_| {})?;
        Ok((Tensor::cat(vec![x, hidden], 1), end - until))
    }

    /// Draws some images of a request in one batch. `observe` sees every step, and the ledger so far if there is one.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn draw(
        &self,
        request: &Request,
        rows: Range<usize>,
        key: Key,
        mut observe: impl FnMut(&Step, Option<&Ledger>),
    ) -> Result<Samples> {
        self.check(request)?;
        let key = key.skip(rows.start as u64);
        let clamped = self.clamped(request, rows.clone());
        let protocol = self.protocol(&clamped)?;
        let x0 = self.substrate.uncoupled_equilibrium(rows.len(), key.fork("noise"))?;
        let kt = self.substrate.kt();
        let pixels = self.pixels();
        let (visible, ledger, force) = match request.hidden {
            HiddenUnits::Langevin => {
                let counted = protocol.is_constant() || rows.start < request.accounts;
                let mut ledger =
                    counted.then(|| Ledger::new(&self.substrate, protocol.clone(), self.schedule.dt));
                let both = |step: &Step| {
                    if let Some(ledger) = &mut ledger {
                        ledger.observe(step);
                    }
                    observe(step, ledger.as_ref());
                };
                let x = self.substrate.simulate(x0, protocol.clone(), self.schedule, key, both)?;
                let end = protocol.at(self.schedule.duration());
                let force = self.substrate.potential().steered_force(x.clone(), end);
                (x.slice_dim(1, 0..pixels), ledger, force.slice_dim(1, 0..pixels))
            }
            HiddenUnits::Adiabatic => {
                let fast = Adiabatic::new(&self.substrate, &protocol)?;
                let dt = ADIABATIC_STEP.min(self.schedule.duration());
                let schedule = Schedule::new(dt, self.schedule.duration())?;
                let feedback = |time: f64, x: &Tensor<2>| -fast.force(time, x);
                let x0 = x0.slice_dim(1, 0..pixels);
                let x = fast
                    .visible
                    .simulate_with_feedback(x0, feedback, schedule, key, |step| observe(step, None))?;
                let force = fast.force(schedule.duration(), &x);
                // If hidden units are not simulated, their energy is unknown, so there is no ledger.
                (x, None, force)
            }
        };
        let scaled = |tensor: Tensor<2>, by: f64| -> Vec<f32> {
            to_f64(tensor).into_iter().map(|value| (value / by) as f32).collect()
        };
        let account = |sum: fn(&Ledger) -> Option<Tensor<1>>| -> Vec<f64> {
            let values = ledger.as_ref().and_then(sum).map(to_f64).unwrap_or_default();
            values.into_iter().map(|value| value / kt).collect()
        };
        Ok(Samples {
            raw: scaled(visible, self.white()?),
            force: scaled(force, self.noising.field),
            heat: account(Ledger::heat),
            work: account(Ledger::work),
        })
    }
}
