//! A network of heat that reads images: warm and cold reservoirs, hidden nodes, and outputs of which the hottest is the answer.
//!
//! ```text
//! x and 1 − x of every pixel  ──K_ih──  hidden  ──K_ho g_h──  output,      input  ──K_io──  output,      leaks to the surroundings
//! g_h = 1 + (r_h − 1) σ((θ_h − θ_c)/w)      (51)
//! ```
//!
//! Temperatures θ are counted from the surroundings in units of ΔT, the difference between a warm reservoir and a cold one; heat
//! capacities are in units of that of a node, C₀, and times in units of C₀/K₀. Hidden nodes melt ((46)), or switch the conductances
//! to the outputs ((47)), or both, or neither. Conductances are positive, K = e^κ, and divided where a step of the given length would
//! exchange more than nine tenths of a node's heat, so that every step obeys the [second law](thermograd::HeatCircuit::step_limit).
//! With positive conductances that do not depend on temperature every output rises with every input: that 1 − x is there as well as x is
//! what makes inhibition possible.

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thermograd::{
    Capacity, Dynamics, HeatCircuit, Key, Latent, Link, Node, Normalisation, Place, Switch, to_f64,
};

use crate::error::{Error, Result};
use crate::training::network::rows;

/// What depends on temperature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nonlinearity {
    /// Nothing: a linear network.
    None,
    /// The heat capacities of hidden nodes.
    Melting,
    /// The conductances from hidden nodes to outputs.
    Switching,
    /// Both.
    Both,
}

impl Nonlinearity {
    /// Whether hidden nodes melt.
    pub fn melts(self) -> bool {
        matches!(self, Self::Melting | Self::Both)
    }

    /// Whether conductances switch.
    pub fn switches(self) -> bool {
        matches!(self, Self::Switching | Self::Both)
    }
}

/// How images arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inputs {
    /// Reservoirs held at x and 1 − x.
    Clamped,
    /// Nodes that are heated to x and 1 − x at the start and then left alone.
    Pulsed,
}

/// A network before training.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThermalConfig {
    /// Hidden nodes.
    pub hidden: usize,
    /// What depends on temperature.
    pub nonlinearity: Nonlinearity,
    /// How images arrive.
    pub inputs: Inputs,
    /// Side of the squares of pixels that are averaged.
    pub pool: usize,
    /// Steps of an inference.
    pub steps: usize,
    /// Their length, in units of C₀/K₀.
    pub step: f64,
    /// T_env in units of ΔT.
    pub surroundings: f64,
    /// Standard deviation of κ before training.
    pub spread: f64,
    /// Mean conductances of a node before training: from inputs to hidden, from hidden to outputs, and from inputs to outputs.
    pub conductances: [f64; 3],
    /// To the surroundings, before training.
    pub leak: f64,
    /// L, in units of C₀ΔT.
    pub latent: f64,
    /// w of melting and switching, before training.
    pub width: f64,
    /// |ln r| before training.
    pub ratio: f64,
    /// Temperatures times this are logits, before training.
    pub gain: f64,
}

impl Default for ThermalConfig {
    fn default() -> Self {
        Self {
            hidden: 128,
            nonlinearity: Nonlinearity::Switching,
            inputs: Inputs::Clamped,
            pool: 2,
            steps: 15,
            step: 0.15,
            surroundings: 10.0,
            spread: 1.5,
            conductances: [1.0, 3.0, 0.1],
            leak: 0.02,
            latent: 0.2,
            width: 0.03,
            ratio: 10.0_f64.ln(),
            gain: 100.0,
        }
    }
}

/// Most of |ln r|.
const RATIO: f64 = 3.401_197_381_662_155_5; // ln 30

/// What a node may exchange of its heat in a step.
const EXCHANGED: f64 = 0.9;

/// Thresholds and widths are trained in these units, in which they move as slowly beside conductances as was found to train best.
const THRESHOLD: f64 = 0.2;
const LOG_WIDTH: f64 = 0.3;

/// Pixels as 0 … 1.
pub const PIXELS: Normalisation = Normalisation { offset: 0.0, scale: 1.0, norm: None };

impl ThermalConfig {
    /// Refuses what makes no network.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Request(reason));
        if !(1..=1 << 20).contains(&self.hidden) || !(1..=100_000).contains(&self.steps) || self.pool == 0 {
            return refuse("hidden, steps and pool: at least one of each, and no more than a million".into());
        }
        for (name, value) in [
            ("step", self.step),
            ("surroundings", self.surroundings),
            ("spread", self.spread),
            ("conductances", self.conductances.into_iter().fold(f64::INFINITY, f64::min)),
            ("leak", self.leak),
            ("latent", self.latent),
            ("width", self.width),
            ("gain", self.gain),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return refuse(format!("{name} = {value}: it must be positive and finite"));
            }
        }
        if !(0.0..=RATIO).contains(&self.ratio) {
            return refuse(format!("ratio = {}: between 0 and {RATIO:.4} are possible", self.ratio));
        }
        Ok(())
    }

    /// An untrained network for images of so many channels, rows and columns.
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`Error::Request`] for images that are not whole squares of `pool` pixels.
    pub fn init(&self, image: [usize; 3], classes: usize, key: Key, device: &Device) -> Result<ThermalNet> {
        self.check()?;
        let [channels, high, wide] = image;
        let pool = self.pool;
        if high % pool != 0 || wide % pool != 0 || high == 0 || wide == 0 {
            return Err(Error::Request(format!(
                "pool = {pool}: images of {high} by {wide} pixels are not whole squares"
            )));
        }
        let inputs = 2 * channels * (high / pool) * (wide / pool);
        let key = key.fork("thermal network");
        let links = |name: &str, from: usize, to: usize, mean: f64| {
            let middle = (mean / from as f64).ln() - 0.5 * self.spread.powi(2);
            let normals = key.fork(name).normals(0, from, to);
            let kappa = normals.into_iter().map(|normal| (middle + self.spread * f64::from(normal)) as f32);
            Param::from_tensor(rows(kappa.collect(), from, device))
        };
        let vector = |values: Vec<f64>| {
            let count = values.len();
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            Param::from_tensor(Tensor::<1>::from_data(TensorData::new(values, [count]), device))
        };
        let same = |count: usize, value: f64| vector(vec![value; count]);
        let thresholds = |name: &str| {
            let mut rng = key.fork(name).rng();
            vector((0..self.hidden).map(|_| (0.1 + 0.4 * rng.random::<f64>()) / THRESHOLD).collect())
        };
        let mut rng = key.fork("ratio").rng();
        let ratio = (0..self.hidden).map(|_| if rng.random() { self.ratio } else { -self.ratio }).collect();
        let [ih, ho, io] = self.conductances;
        Ok(ThermalNet {
            input_hidden: links("input-hidden", inputs, self.hidden, ih),
            hidden_output: links("hidden-output", self.hidden, classes, ho),
            input_output: links("input-output", inputs, classes, io),
            leak_hidden: same(self.hidden, self.leak.ln()),
            leak_output: same(classes, self.leak.ln()),
            melts_at: thresholds("melts"),
            melting_width: same(self.hidden, self.width.ln() / LOG_WIDTH),
            switches_at: thresholds("switches"),
            switching_width: same(self.hidden, self.width.ln() / LOG_WIDTH),
            ratio: vector(ratio),
            gain: same(1, self.gain.ln()),
            image,
            config: self.clone(),
        })
    }
}

/// A network of heat; its parameters are logarithms.
#[derive(Module, Debug)]
pub struct ThermalNet {
    input_hidden: Param<Tensor<2>>,
    hidden_output: Param<Tensor<2>>,
    input_output: Param<Tensor<2>>,
    leak_hidden: Param<Tensor<1>>,
    leak_output: Param<Tensor<1>>,
    melts_at: Param<Tensor<1>>,
    melting_width: Param<Tensor<1>>,
    switches_at: Param<Tensor<1>>,
    switching_width: Param<Tensor<1>>,
    ratio: Param<Tensor<1>>,
    gain: Param<Tensor<1>>,
    #[module(skip)]
    image: [usize; 3],
    #[module(skip)]
    config: ThermalConfig,
}

/// Conductances under the step limit. `[from, to]`; leaks are `[1, node]`.
#[derive(Clone, Debug)]
pub struct Conductances {
    /// Inputs to hidden nodes.
    pub input_hidden: Tensor<2>,
    /// Hidden nodes to outputs, below θ_c.
    pub hidden_output: Tensor<2>,
    /// Inputs to outputs.
    pub input_output: Tensor<2>,
    /// Hidden nodes to the surroundings.
    pub leak_hidden: Tensor<2>,
    /// Outputs to the surroundings.
    pub leak_output: Tensor<2>,
}

/// Heat of all nodes, `[image, node]`. Clamped inputs have none.
#[derive(Clone, Debug)]
pub struct Warmth {
    /// Of the inputs.
    pub input: Option<Tensor<2>>,
    /// Of the hidden nodes.
    pub hidden: Tensor<2>,
    /// Of the outputs.
    pub output: Tensor<2>,
}

/// How noise is drawn. Both have the same distribution to first order in the step for every node; only the second conserves energy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fluctuations {
    /// One number a node: for training.
    Nodes,
    /// One number a link between free nodes; what reservoirs and surroundings exchange with a node is summed, which changes nothing.
    Links,
}

/// (ln(1 + eˣ)) of any x.
fn softplus(x: Tensor<2>) -> Tensor<2> {
    x.clone().clamp_min(0.0) + (-x.abs()).exp().log1p()
}

fn row(vector: Tensor<1>) -> Tensor<2> {
    vector.unsqueeze()
}

impl ThermalNet {
    /// What it was made from.
    pub fn config(&self) -> &ThermalConfig {
        &self.config
    }

    /// Inputs, hidden nodes and outputs.
    pub fn sizes(&self) -> [usize; 3] {
        let [inputs, hidden] = self.input_hidden.dims();
        [inputs, hidden, self.leak_output.dims()[0]]
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        self.gain.device()
    }

    /// x and 1 − x of images of pixels 0 … 1.
    ///
    /// # Shapes
    /// `[image, pixel]` → `[image, input]`.
    pub fn inputs(&self, pixels: Tensor<2>) -> Tensor<2> {
        let ([channels, high, wide], pool) = (self.image, self.config.pool);
        let images = pixels.dims()[0];
        let x = if pool > 1 {
            let (high, wide) = (high / pool, wide / pool);
            let squares = pixels.reshape([images * channels * high, pool, wide, pool]);
            squares.mean_dim(3).mean_dim(1).reshape([images, channels * high * wide])
        } else {
            pixels
        };
        Tensor::cat(vec![x.clone(), -x + 1.0], 1)
    }

    /// r of the hidden nodes, `[1, node]`.
    fn ratios(&self) -> Tensor<2> {
        row(self.ratio.val()).clamp(-RATIO, RATIO).exp()
    }

    /// Conductances, each divided by what keeps both its ends under the step limit.
    pub fn conductances(&self) -> Conductances {
        let h = self.config.step;
        let [input_hidden, hidden_output, input_output] =
            [&self.input_hidden, &self.hidden_output, &self.input_output].map(|kappa| kappa.val().exp());
        let [leak_hidden, leak_output] =
            [&self.leak_hidden, &self.leak_output].map(|leak| row(leak.val()).exp());
        let most = match self.config.nonlinearity.switches() {
            true => hidden_output.clone() * self.ratios().clamp_min(1.0).transpose(),
            false => hidden_output.clone(),
        };
        let over = |sum: Tensor<2>| (sum * (h / EXCHANGED)).clamp_min(1.0);
        // [1, hidden], [1, output] and [input, 1].
        let by_hidden =
            over(input_hidden.clone().sum_dim(0) + leak_hidden.clone() + most.clone().sum_dim(1).transpose());
        let by_output = over(input_output.clone().sum_dim(0) + leak_output.clone() + most.sum_dim(0));
        let both = |k: Tensor<2>, from: Tensor<2>, to: Tensor<2>| {
            let [rows, columns] = k.dims();
            k / from.expand([rows, columns]).max_pair(to.expand([rows, columns]))
        };
        let (mut to_hidden, mut to_output) = (input_hidden.clone(), input_output.clone());
        match self.config.inputs {
            Inputs::Clamped => {
                to_hidden = to_hidden / by_hidden.clone();
                to_output = to_output / by_output.clone();
            }
            Inputs::Pulsed => {
                let by_input = over(input_hidden.sum_dim(1) + input_output.sum_dim(1));
                to_hidden = both(to_hidden, by_input.clone(), by_hidden.clone());
                to_output = both(to_output, by_input, by_output.clone());
            }
        }
        Conductances {
            input_hidden: to_hidden,
            hidden_output: both(hidden_output, by_hidden.clone().transpose(), by_output.clone()),
            input_output: to_output,
            leak_hidden: leak_hidden / by_hidden,
            leak_output: leak_output / by_output,
        }
    }

    /// θ of the hidden nodes, and 1/C if it is asked for.
    fn hidden_temperature(&self, u: Tensor<2>, inverse: bool) -> (Tensor<2>, Option<Tensor<2>>) {
        if !self.config.nonlinearity.melts() {
            return (u, None);
        }
        let left = 1.0 - thermograd::MELTING;
        let at = row(self.melts_at.val()) * THRESHOLD;
        let width = (row(self.melting_width.val()) * LOG_WIDTH).exp();
        let latent = self.config.latent;
        let (low, high) =
            ((u.clone() - at.clone()) / width.clone(), (u.clone() - at.clone() - latent) / width.clone());
        let zero = softplus(-at.clone() / width.clone()) - softplus((-at - latent) / width.clone());
        let melted = (softplus(low.clone()) - softplus(high.clone()) - zero) * width;
        let inverse = inverse.then(|| -(sigmoid(low) - sigmoid(high)) * left + 1.0);
        (u - melted * left, inverse)
    }

    /// θ of the hidden nodes from their heat.
    pub fn temperatures(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.hidden_temperature(hidden, false).0
    }

    /// Heat that flows through it from these inputs; with noise of a size σ = δT/ΔT of a node.
    ///
    /// # Shapes
    /// `inputs` is `[image, input]`.
    pub fn flow(&self, inputs: Tensor<2>, noise: Option<(f64, Fluctuations, Key)>) -> ThermalFlow<'_> {
        let k = self.conductances();
        let clamped = self.config.inputs == Inputs::Clamped;
        let drive = clamped.then(|| {
            (inputs.clone().matmul(k.input_hidden.clone()), inputs.clone().matmul(k.input_output.clone()))
        });
        let sums = Sums {
            hidden: k.input_hidden.clone().sum_dim(0) + k.leak_hidden.clone(),
            output: k.input_output.clone().sum_dim(0) + k.leak_output.clone(),
            above: k.hidden_output.clone().sum_dim(1).transpose(),
            input: k.input_hidden.clone().sum_dim(1).transpose()
                + k.input_output.clone().sum_dim(1).transpose(),
        };
        // σ² = k_B T₀²/(C₀ ΔT²).
        let noise = noise
            .filter(|(sigma, ..)| *sigma > 0.0)
            .map(|(sigma, kind, key)| ((sigma / self.config.surroundings).powi(2), kind, key));
        ThermalFlow { net: self, k, sums, inputs, drive, noise }
    }

    /// Logits of temperatures.
    pub fn logits(&self, output: Tensor<2>) -> Tensor<2> {
        output * row(self.gain.val()).exp()
    }

    /// The trained network as a circuit: inputs, hidden nodes, then outputs. Temperatures and heat are in the units of the network.
    ///
    /// # Errors
    /// [`thermograd::Error::Heat`] for conductances that training made too small for double precision.
    pub fn circuit(&self) -> Result<HeatCircuit> {
        let [inputs, hidden, outputs] = self.sizes();
        let k = self.valid().conductances();
        let [ih, ho, io] = [k.input_hidden, k.hidden_output, k.input_output].map(to_f64);
        let numbers = |vector: &Param<Tensor<1>>| to_f64(vector.val());
        let (at, widths) = (numbers(&self.melts_at), numbers(&self.melting_width));
        let melts = self.config.nonlinearity.melts();
        let free = |latent: Option<Latent>| Node::Free(Capacity { least: 1.0, latent });
        let mut nodes = match self.config.inputs {
            Inputs::Clamped => vec![Node::Held; inputs],
            Inputs::Pulsed => vec![free(None); inputs],
        };
        nodes.extend((0..hidden).map(|j| {
            let (at, width) = (THRESHOLD * at[j], (LOG_WIDTH * widths[j]).exp());
            free(melts.then_some(Latent { heat: self.config.latent, at, width }))
        }));
        nodes.extend((0..outputs).map(|_| free(None)));
        let (at, widths) = (numbers(&self.switches_at), numbers(&self.switching_width));
        let ratios = to_f64(self.valid().ratios());
        let switch = |j: usize| {
            self.config.nonlinearity.switches().then(|| Switch {
                end: 0,
                ratio: ratios[j],
                at: THRESHOLD * at[j],
                width: (LOG_WIDTH * widths[j]).exp(),
            })
        };
        let mut links = Vec::new();
        let (first, last) = (inputs, inputs + hidden);
        for (i, j) in (0..inputs).flat_map(|i| (0..hidden).map(move |j| (i, j))) {
            links.push(Link::constant([i, first + j], ih[i * hidden + j]));
        }
        for (j, o) in (0..hidden).flat_map(|j| (0..outputs).map(move |o| (j, o))) {
            let conductance = ho[j * outputs + o];
            links.push(Link { ends: [first + j, last + o], conductance, switch: switch(j) });
        }
        for (i, o) in (0..inputs).flat_map(|i| (0..outputs).map(move |o| (i, o))) {
            links.push(Link::constant([i, last + o], io[i * outputs + o]));
        }
        let mut leaks = vec![0.0; inputs];
        leaks.extend(to_f64(k.leak_hidden));
        leaks.extend(to_f64(k.leak_output));
        Ok(HeatCircuit::new(nodes, links, leaks, self.config.surroundings)?)
    }
}

impl ThermalNet {
    /// The same with the conductances of a circuit that was made of it, links and leaks, in steps that are so many times as short, and
    /// shorter still if its step limit asks for it: conductances are not changed.
    ///
    /// # Errors
    /// [`Error::Request`] for another circuit.
    pub fn with_conductances(&self, circuit: &HeatCircuit, shorter: usize) -> Result<Self> {
        let [inputs, hidden, outputs] = self.sizes();
        let counts = [inputs * hidden, hidden * outputs, inputs * outputs];
        if circuit.links().len() != counts.iter().sum::<usize>()
            || circuit.leaks().len() != inputs + hidden + outputs
        {
            return Err(Error::Request("the circuit was not made of this network".into()));
        }
        let device = self.device();
        let logs: Vec<f32> = circuit.links().iter().map(|link| link.conductance.ln() as f32).collect();
        let leaks: Vec<f32> = circuit.leaks()[inputs..].iter().map(|leak| leak.ln() as f32).collect();
        let block = |range: std::ops::Range<usize>, from: usize| {
            Param::from_tensor(rows(logs[range].to_vec(), from, &device))
        };
        let vector = |values: &[f32]| {
            Param::from_tensor(Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &device))
        };
        let [first, second, _] = counts;
        let mut config = self.config.clone();
        // Single precision rounds logarithms: a hundredth is left.
        let needed = (config.step / (0.99 * EXCHANGED * circuit.step_limit().0)).ceil() as usize;
        let shorter = shorter.max(needed);
        (config.steps, config.step) = (config.steps * shorter, config.step / shorter as f64);
        Ok(Self {
            config,
            input_hidden: block(0..first, inputs),
            hidden_output: block(first..first + second, hidden),
            input_output: block(first + second..logs.len(), inputs),
            leak_hidden: vector(&leaks[..hidden]),
            leak_output: vector(&leaks[hidden..]),
            ..self.clone()
        })
    }
}

/// Sums of conductances of every node, `[1, node]`.
struct Sums {
    /// Inputs and leaks of hidden nodes.
    hidden: Tensor<2>,
    /// The same of outputs.
    output: Tensor<2>,
    /// Outputs of hidden nodes, below θ_c.
    above: Tensor<2>,
    /// Of inputs.
    input: Tensor<2>,
}

/// A network at work on some images: Euler's steps of (49).
pub struct ThermalFlow<'a> {
    net: &'a ThermalNet,
    k: Conductances,
    sums: Sums,
    inputs: Tensor<2>,
    /// Inputs times conductances, of hidden nodes and of outputs, where inputs are clamped.
    drive: Option<(Tensor<2>, Tensor<2>)>,
    /// k_B in units of C₀ΔT… and how it is drawn.
    noise: Option<(f64, Fluctuations, Key)>,
}

impl ThermalFlow<'_> {
    /// The start: everything at the temperature of the surroundings, but for pulsed inputs.
    pub fn start(&self) -> Warmth {
        let [_, hidden, outputs] = self.net.sizes();
        let (images, device) = (self.inputs.dims()[0], self.inputs.device());
        let input = self.drive.is_none().then(|| self.inputs.clone());
        let zeros = |nodes: usize| Tensor::zeros([images, nodes], &device);
        Warmth { input, hidden: zeros(hidden), output: zeros(outputs) }
    }

    /// Steps of an inference.
    pub fn steps(&self) -> usize {
        self.net.config.steps
    }

    /// What every reservoir has given up in a run of so many steps, from the sums of the temperatures before each of them.
    ///
    /// # Shapes
    /// `[image, hidden]` and `[image, output]` → `[image, input]`.
    pub fn given(&self, steps: usize, hidden: Tensor<2>, output: Tensor<2>) -> Tensor<2> {
        let taken = hidden.matmul(self.k.input_hidden.clone().transpose())
            + output.matmul(self.k.input_output.clone().transpose());
        (self.inputs.clone() * self.sums.input.clone() * steps as f64 - taken) * self.net.config.step
    }

    /// The noise of a step: what flows into inputs, hidden nodes and outputs.
    fn noise(
        &self,
        index: usize,
        boltzmann: f64,
        kind: Fluctuations,
        key: Key,
        [input, hidden, output]: [Option<&Tensor<2>>; 3],
        switched: Option<&Tensor<2>>,
    ) -> [Option<Tensor<2>>; 3] {
        let (k, t0) = (&self.k, self.net.config.surroundings);
        let (hidden, output) = (hidden.expect("hidden nodes"), output.expect("outputs"));
        let images = hidden.dims()[0];
        let two = 2.0 * boltzmann * self.net.config.step;
        let normals =
            |name: &str, units: usize| key.fork(name).normals_beside(index, [images, units], hidden);
        let warm = |theta: &Tensor<2>| (theta.clone().detach() + t0).clamp_min(0.0);
        let (t_h, t_o) = (warm(hidden), warm(output));
        // Sums of K T over reservoirs and surroundings.
        let around = |drive: Option<&Tensor<2>>, all: &Tensor<2>, leak: &Tensor<2>| match drive {
            Some(drive) => drive.clone().detach() + all.clone().detach() * t0,
            None => leak.clone().detach() * t0 + hidden.zeros_like().detach().sum_dim(1) * 0.0,
        };
        let drive = self.drive.as_ref();
        let mut h = around(drive.map(|drive| &drive.0), &self.sums.hidden, &k.leak_hidden);
        let mut o = around(drive.map(|drive| &drive.1), &self.sums.output, &k.leak_output);
        let g = switched.map_or_else(|| hidden.zeros_like() + 1.0, |g| g.clone().detach());
        let ho = k.hidden_output.clone().detach();
        let mut from_links: [Option<Tensor<2>>; 3] = [None, None, None];
        if kind == Fluctuations::Nodes {
            h = h + g.clone() * t_o.clone().matmul(ho.clone().transpose());
            o = o + (g * t_h.clone()).matmul(ho);
            if let Some(input) = input {
                let t_i = warm(input);
                let (ih, io) = (k.input_hidden.clone().detach(), k.input_output.clone().detach());
                h = h + t_i.clone().matmul(ih.clone());
                o = o + t_i.clone().matmul(io.clone());
                let out = t_h.clone().matmul(ih.transpose()) + t_o.clone().matmul(io.transpose());
                let units = t_i.dims()[1];
                from_links[0] = Some((t_i * out * two).sqrt() * normals("input", units));
            }
        } else {
            // [image, from, to]: one number a link.
            let link = |name: &str, from: &Tensor<2>, to: &Tensor<2>, k: Tensor<2>| -> Tensor<3> {
                let ([_, a], [_, b]) = (from.dims(), to.dims());
                let product = from.clone().unsqueeze_dim::<3>(2) * to.clone().unsqueeze_dim::<3>(1);
                (product * k.unsqueeze::<3>() * two).sqrt() * normals(name, a * b).reshape([images, a, b])
            };
            let flat = |sum: Tensor<3>, units: usize| sum.reshape([images, units]);
            let [inputs, middle, outputs] = self.net.sizes();
            let up = link("hidden-output", &(t_h.clone() * g), &t_o, ho);
            let mut into_h = flat(up.clone().sum_dim(2), middle);
            let mut into_o = -flat(up.sum_dim(1), outputs);
            if let Some(input) = input {
                let t_i = warm(input);
                let one = link("input-hidden", &t_i, &t_h, k.input_hidden.clone().detach());
                let two = link("input-output", &t_i, &t_o, k.input_output.clone().detach());
                into_h = into_h - flat(one.clone().sum_dim(1), middle);
                into_o = into_o - flat(two.clone().sum_dim(1), outputs);
                from_links[0] = Some(flat(one.sum_dim(2), inputs) + flat(two.sum_dim(2), inputs));
            }
            (from_links[1], from_links[2]) = (Some(into_h), Some(into_o));
        }
        let (hidden_units, output_units) = (t_h.dims()[1], t_o.dims()[1]);
        let h = (t_h * h * two).sqrt() * normals("hidden", hidden_units);
        let o = (t_o * o * two).sqrt() * normals("output", output_units);
        let add = |own: Tensor<2>, links: Option<Tensor<2>>| match links {
            Some(links) => own + links,
            None => own,
        };
        let [i, into_h, into_o] = from_links;
        [i, Some(add(h, into_h)), Some(add(o, into_o))]
    }
}

impl Dynamics for ThermalFlow<'_> {
    type State = Warmth;

    fn step(&self, index: usize, Warmth { input, hidden, output }: Warmth) -> Warmth {
        let (net, k, sums, h) = (self.net, &self.k, &self.sums, self.net.config.step);
        let switches = net.config.nonlinearity.switches();
        let noisy = self.noise.is_some() && switches;
        let (theta, inverse) = net.hidden_temperature(hidden.clone(), noisy);
        // g, and its slope.
        let (g, slope) = if switches {
            let width = (row(net.switching_width.val()) * LOG_WIDTH).exp();
            let s = sigmoid((theta.clone() - row(net.switches_at.val()) * THRESHOLD) / width.clone());
            let rise = net.ratios() - 1.0;
            let slope = noisy.then(|| rise.clone() * s.clone() * (-s.clone() + 1.0) / width);
            (Some(s * rise + 1.0), slope)
        } else {
            (None, None)
        };
        let up = |x: Tensor<2>| match &g {
            Some(g) => x * g.clone(),
            None => x,
        };
        let ones = theta.ones_like();
        let (k_up, gain) = (k.hidden_output.clone(), up(ones));
        let mut into_h =
            up(output.clone().matmul(k_up.clone().transpose()) - theta.clone() * sums.above.clone());
        let mut into_o = up(theta.clone()).matmul(k_up.clone()) - output.clone() * gain.matmul(k_up.clone());
        let mut into_i = None;
        match (&self.drive, &input) {
            (Some((to_hidden, to_output)), _) => {
                into_h = into_h + to_hidden.clone() - theta.clone() * sums.hidden.clone();
                into_o = into_o + to_output.clone() - output.clone() * sums.output.clone();
            }
            (None, Some(input)) => {
                into_h = into_h + input.clone().matmul(k.input_hidden.clone())
                    - theta.clone() * sums.hidden.clone();
                into_o = into_o + input.clone().matmul(k.input_output.clone())
                    - output.clone() * sums.output.clone();
                let back = theta.clone().matmul(k.input_hidden.clone().transpose())
                    + output.clone().matmul(k.input_output.clone().transpose());
                into_i = Some((back - input.clone() * sums.input.clone()) * h);
            }
            (None, None) => {}
        }
        let (mut into_h, mut into_o) = (into_h * h, into_o * h);
        if let Some((boltzmann, kind, key)) = self.noise {
            let t0 = net.config.surroundings;
            if let Some(slope) = slope {
                // The drift of (49): k_B T_h T_o K′/C.
                let per = match inverse {
                    Some(inverse) => slope * inverse,
                    None => slope,
                };
                let (t_h, t_o) = ((theta.clone() + t0) * per, output.clone() + t0);
                let (a, b) =
                    (t_o.clone().matmul(k_up.clone().transpose()) * t_h.clone(), t_h.matmul(k_up) * t_o);
                (into_h, into_o) = (into_h + a * (h * boltzmann), into_o - b * (h * boltzmann));
            }
            let temperatures = [input.as_ref(), Some(&theta), Some(&output)];
            let [i, a, b] = self.noise(index, boltzmann, kind, key, temperatures, g.as_ref());
            if let (Some(into), Some(noise)) = (into_i.as_mut(), i) {
                *into = into.clone() + noise;
            }
            (into_h, into_o) = (into_h + a.expect("hidden nodes"), into_o + b.expect("outputs"));
        }
        let input = input.map(|input| match into_i {
            Some(into) => input + into,
            None => input,
        });
        Warmth { input, hidden: hidden + into_h, output: output + into_o }
    }

    fn diverged(&self, state: &Warmth) -> Option<Place> {
        let all = [
            ("hidden", Some(&state.hidden)),
            ("output", Some(&state.output)),
            ("input", state.input.as_ref()),
        ];
        all.into_iter().find_map(|(group, heat)| {
            let [_, units] = heat?.dims();
            let odd = to_f64(heat?.clone()).iter().position(|value| !value.is_finite())?;
            Some(Place { trajectory: odd / units, group: group.into(), unit: odd % units })
        })
    }

    fn time(&self, steps: usize) -> f64 {
        steps as f64 * self.net.config.step
    }
}
