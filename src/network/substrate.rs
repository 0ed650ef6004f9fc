//! The thermodynamic computer as a Burn module whose parameters are couplings and biases.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorCreationOptions, TensorData};

use crate::error::{Error, Result};
use crate::network::potential::{Coupling, Listed, Potential};
use crate::network::quadratic::{check_confinement, free_pairs};
use crate::network::topology::{Block, Group, Pattern, Topology};
use crate::noise::Key;
use crate::tensors::{check_shape, gather, identity, replace, row, scatter, to_f64};

/// Everything about a thermodynamic computer that is not trained.
#[derive(Clone, PartialEq, Debug)]
pub struct SubstrateConfig {
    /// The groups of units and the blocks of couplings.
    pub topology: Topology,
    /// kT, the thermal energy, in the units of the couplings.
    pub kt: f64,
}

impl SubstrateConfig {
    /// A computer with this topology at kT = 1.
    pub fn new(topology: Topology) -> Self {
        Self { topology, kt: 1.0 }
    }

    /// With the thermal energy `kt`.
    pub fn with_kt(self, kt: f64) -> Self {
        Self { kt, ..self }
    }

    /// The untrained computer: all couplings and biases zero.
    ///
    /// `options` is a device, or a device and a data type: `(&device, DType::F64)`.
    ///
    /// # Errors
    /// [`Error::Topology`], [`Error::NotConfining`] or [`Error::Constant`] when the description is not that of a
    /// network that confines its units.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use thermograd::{Group, SubstrateConfig, Topology};
    /// let wiring = Topology::bipartite(Group::clamped("pixel", 4), Group::free("unit", 3));
    /// let substrate = SubstrateConfig::new(wiring).init(&Device::flex())?;
    /// assert_eq!(substrate.free_units(), 3);
    /// # Ok::<(), thermograd::Error>(())
    /// ```
    pub fn init(&self, options: impl Into<TensorCreationOptions>) -> Result<Substrate> {
        self.validate()?;
        let options = options.into();
        let zeros = |shape| Param::from_tensor(Tensor::<2>::zeros(shape, options.clone()));
        Ok(Substrate {
            couplings: self.topology.blocks.iter().map(|b| zeros(self.stored_shape(b))).collect(),
            biases: self.biased().map(|group| zeros([1, group.units])).collect(),
            config: self.clone(),
            bare: options.clone(),
        })
    }

    /// Checks that this describes a network that confines its units, at a valid temperature.
    ///
    /// # Errors
    /// As [`init`](Self::init).
    pub fn validate(&self) -> Result<()> {
        self.topology.validate()?;
        if !(self.kt >= 0.0 && self.kt.is_finite()) {
            return Err(Error::Constant {
                name: "kT".into(),
                value: self.kt,
                expected: "must be finite and not negative",
            });
        }
        Ok(())
    }

    /// The groups with trainable biases, in order.
    pub(crate) fn biased(&self) -> impl Iterator<Item = &Group> {
        self.topology.free().filter(|group| group.bias)
    }

    /// The shape in which a block's couplings are stored: a matrix, or one row of listed pairs.
    pub(crate) fn stored_shape(&self, block: &Block) -> [usize; 2] {
        match &block.pattern {
            Pattern::Full => [self.topology.units(&block.from), self.topology.units(&block.to)],
            Pattern::Pairs(pairs) => [1, pairs.len()],
        }
    }
}

/// A thermodynamic computer: clamped and free units in a potential with trained couplings and biases, in contact
/// with a bath at kT.
///
/// Parameters are stored by block, never as one matrix over all units. Couplings within a group are the symmetric
/// part ½(R + Rᵀ) of what is stored, without its diagonal, so no update can make them asymmetric or couple a unit
/// to itself.
///
/// | to do | call |
/// |---|---|
/// | fold clamped values into the field | [`field`](Self::field) |
/// | run | [`forward`](Self::forward), [`trajectory`](Self::trajectory), [`simulate`](Self::simulate) |
/// | compute how likely a trajectory is | [`action`](Self::action) |
/// | account for heat | [`heat`](Self::heat), [`path_heat`](Self::path_heat) |
#[derive(Module, Debug)]
pub struct Substrate {
    /// One tensor per block, in the order of the blocks.
    pub(crate) couplings: Vec<Param<Tensor<2>>>,
    /// One `[1, unit]` tensor per biased group, in the order of the groups.
    pub(crate) biases: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    pub(crate) config: SubstrateConfig,
    /// Device and data type, for a computer that has no parameters.
    #[module(skip)]
    bare: TensorCreationOptions,
}

impl Substrate {
    /// What is not trained.
    pub fn config(&self) -> &SubstrateConfig {
        &self.config
    }

    /// The same couplings with other constants: another temperature, other wells.
    ///
    /// # Errors
    /// Those of [`SubstrateConfig::init`], and [`Error::Topology`] when groups or blocks do not fit the couplings.
    pub fn with_config(self, config: SubstrateConfig) -> Result<Self> {
        let stored =
            |c: &SubstrateConfig| -> Vec<_> { c.topology.blocks.iter().map(|b| c.stored_shape(b)).collect() };
        config.init(self.options())?;
        let biased = |c: &SubstrateConfig| -> Vec<usize> { c.biased().map(|group| group.units).collect() };
        if stored(&config) != stored(&self.config) || biased(&config) != biased(&self.config) {
            return Err(Error::Topology("the new constants describe another network".into()));
        }
        Ok(Self { config, ..self })
    }

    /// The wiring.
    pub fn topology(&self) -> &Topology {
        &self.config.topology
    }

    /// The thermal energy.
    pub fn kt(&self) -> f64 {
        self.config.kt
    }

    /// The number of free units: the width of a state.
    pub fn free_units(&self) -> usize {
        self.config.topology.free_units()
    }

    /// Device and data type of the parameters.
    pub fn options(&self) -> TensorCreationOptions {
        let parameter = self.couplings.first().or(self.biases.first());
        match parameter {
            Some(p) => TensorCreationOptions::new(p.device()).with_dtype(p.val().dtype()),
            None => self.bare.clone(),
        }
    }

    /// The couplings of one block; within a group, symmetric with a zero diagonal.
    ///
    /// # Shapes
    /// `[units of from, units of to]`.
    pub fn coupling(&self, block: usize) -> Tensor<2> {
        let (config, stored) = (&self.config, self.couplings[block].val());
        let block = &config.topology.blocks[block];
        let shape = [config.topology.units(&block.from), config.topology.units(&block.to)];
        let dense = match &block.pattern {
            Pattern::Full => stored,
            Pattern::Pairs(pairs) => scatter(stored, pairs, shape),
        };
        match (block.from == block.to, &block.pattern) {
            (false, _) => dense,
            (true, Pattern::Pairs(_)) => dense.clone() + dense.transpose(),
            (true, Pattern::Full) => {
                let off_diagonal = 1.0 - identity(shape[0], self.options());
                (dense.clone() + dense.transpose()) * 0.5 * off_diagonal
            }
        }
    }

    /// Replaces the couplings of one block; within a group, by the symmetric part of `dense`.
    ///
    /// # Shapes
    /// `[units of from, units of to]`; entries outside the pattern of the block are ignored.
    pub fn with_coupling(self, block: usize, dense: Tensor<2>) -> Result<Self> {
        let description = &self.config.topology.blocks[block];
        let shape =
            [self.config.topology.units(&description.from), self.config.topology.units(&description.to)];
        check_shape(&format!("coupling {}", description.name()), dense.dims(), shape)?;
        let stored = match &description.pattern {
            Pattern::Full => dense,
            Pattern::Pairs(pairs) => gather(dense, pairs),
        };
        Ok(self.with_stored(block, stored))
    }

    /// The couplings of one block, each pair once, in the order of [`Topology::pairs`].
    pub fn pair_couplings(&self, block: usize) -> Vec<f64> {
        let described = &self.config.topology.blocks[block];
        match described.pattern {
            Pattern::Pairs(_) => to_f64(self.couplings[block].val()),
            Pattern::Full => {
                let dense = self.coupling(block);
                let (columns, values) = (dense.dims()[1], to_f64(dense));
                self.config.topology.pairs(described).map(|[i, j]| values[i * columns + j]).collect()
            }
        }
    }

    /// Replaces the couplings of one block, each pair once, in the order of [`Topology::pairs`].
    ///
    /// # Errors
    /// [`Error::Shape`] when there are more or fewer.
    pub fn with_pair_couplings(self, block: usize, couplings: &[f64]) -> Result<Self> {
        let described = &self.config.topology.blocks[block];
        let count = self.config.topology.pair_count(described);
        check_shape(&format!("coupling {}", described.name()), [1, couplings.len()], [1, count])?;
        let stored = match described.pattern {
            Pattern::Pairs(_) => couplings.to_vec(),
            Pattern::Full => {
                let [rows, columns] = self.config.stored_shape(described);
                let mut dense = vec![0.0; rows * columns];
                for ([i, j], coupling) in self.config.topology.pairs(described).zip(couplings) {
                    dense[i * columns + j] = *coupling;
                    if described.from == described.to {
                        dense[j * columns + i] = *coupling;
                    }
                }
                dense
            }
        };
        let shape = self.config.stored_shape(described);
        let stored = Tensor::from_data(TensorData::new(stored, shape), self.options());
        Ok(self.with_stored(block, stored))
    }

    /// Replaces the stored values of one block, in the shape of [`SubstrateConfig::stored_shape`].
    pub(crate) fn with_stored(mut self, block: usize, stored: Tensor<2>) -> Self {
        self.couplings[block] = replace(&self.couplings[block], stored);
        self
    }

    /// The biases of the free units, zero where a group has none.
    ///
    /// # Shapes
    /// `[1, unit]`.
    pub fn bias(&self) -> Tensor<2> {
        let mut trained = self.biases.iter();
        let bias = |group: &Group| match group.bias {
            true => trained.next().expect("one tensor a biased group").val(),
            false => Tensor::zeros([1, group.units], self.options()),
        };
        Tensor::cat(self.config.topology.free().map(bias).collect(), 1)
    }

    /// Replaces the biases; entries of groups without biases are ignored.
    ///
    /// # Shapes
    /// `[1, unit]`.
    pub fn with_bias(mut self, bias: Tensor<2>) -> Result<Self> {
        check_shape("bias", bias.dims(), [1, self.free_units()])?;
        let groups: Vec<_> = self.config.biased().map(|group| group.name.clone()).collect();
        for (parameter, group) in self.biases.iter_mut().zip(groups) {
            let columns = self.config.topology.columns(&group)?;
            *parameter = replace(parameter, bias.clone().slice_dim(1, columns));
        }
        Ok(self)
    }

    /// Draws independent normal couplings of standard deviation `scale`/√(units of the network).
    ///
    /// Within a group the couplings are the symmetric part of the values drawn, with 1/√2 of that deviation.
    pub fn randomised(mut self, scale: f64, key: Key) -> Self {
        let key = key.batch().fork("couplings");
        let fan_in = self.config.topology.groups.iter().map(|g| g.units).sum::<usize>();
        for (index, parameter) in self.couplings.iter_mut().enumerate() {
            let [rows, columns] = parameter.val().dims();
            let normals = key.at(index as u64).normals(0, rows, columns);
            let (device, dtype) = (parameter.device(), parameter.val().dtype());
            let data = TensorData::new(normals, [rows, columns]);
            let values = Tensor::<2>::from_data(data, (&device, dtype)) * (scale / (fan_in as f64).sqrt());
            *parameter = replace(parameter, values);
        }
        self
    }

    /// The field h of biases and clamped units, computed once per image and constant along its trajectory.
    ///
    /// # Shapes
    /// `clamped`: one `[batch, units]` per clamped group, in order → `[batch, unit]` over the free units. Without
    /// clamped groups the field is `[1, unit]` and broadcasts.
    ///
    /// # Errors
    /// [`Error::Shape`] when the clamped values do not fit.
    pub fn field(&self, clamped: &[Tensor<2>]) -> Result<Tensor<2>> {
        let topology = &self.config.topology;
        let expected: Vec<usize> = topology.clamped().map(|group| group.units).collect();
        let found: Vec<usize> = clamped.iter().map(|values| values.dims()[1]).collect();
        if expected != found {
            return Err(Error::Shape {
                what: "the list of clamped values (units of each)".into(),
                found,
                expected,
            });
        }
        // h = b + Σ_c X_c J_c, with J_c from clamped group c to all free units.
        let product = |(group, values): (&Group, &Tensor<2>)| match topology.is_scattered(&group.name) {
            false => values.clone().matmul(self.coupling_to_free(group)),
            true => self.push(group, values),
        };
        let products = topology.clamped().zip(clamped).map(product);
        Ok(products.fold(self.bias(), |field, product| product + field))
    }

    /// XJ of one clamped group, block by block.
    fn push(&self, from: &Group, values: &Tensor<2>) -> Tensor<2> {
        let dense = |to: &Group| match self.dense_between(&from.name, &to.name) {
            Some(coupling) => values.clone().matmul(coupling),
            None => Tensor::zeros([values.dims()[0], to.units], self.options()),
        };
        let dense = Tensor::cat(self.config.topology.free().map(dense).collect(), 1);
        self.listed(from, 0).iter().fold(dense, |sum, listed| listed.add_to(sum, values))
    }

    /// The sparse couplings from a group, whose units start at column `first`, to every free unit.
    fn listed(&self, from: &Group, first: usize) -> Vec<Listed> {
        let topology = &self.config.topology;
        let mut listed = Vec::new();
        for (block, stored) in topology.blocks.iter().zip(&self.couplings) {
            let Pattern::Pairs(pairs) = &block.pattern else {
                continue;
            };
            for (own, other, swap) in [(&block.from, &block.to, false), (&block.to, &block.from, true)] {
                let (true, Ok(columns)) =
                    (*own == from.name && topology.is_sparse(block), topology.columns(other))
                else {
                    continue;
                };
                let pairs = pairs.iter().map(|&[i, j]| if swap { [j, i] } else { [i, j] });
                let placed = pairs.map(|[i, j]| [first + i, columns.start + j]);
                listed.push(Listed::new(placed, stored.val()));
            }
        }
        listed
    }

    /// The couplings from one clamped group to every free unit, `[units of the group, unit]`.
    fn coupling_to_free(&self, from: &Group) -> Tensor<2> {
        let block = |to: &Group| {
            self.coupling_between(&from.name, &to.name)
                .unwrap_or_else(|| Tensor::zeros([from.units, to.units], self.options()))
        };
        Tensor::cat(self.config.topology.free().map(block).collect(), 1)
    }

    /// The couplings from one group to another, in whichever order the block names them.
    pub(crate) fn coupling_between(&self, from: &str, to: &str) -> Option<Tensor<2>> {
        let (index, forward) = self.config.topology.block_between(from, to)?;
        let coupling = self.coupling(index);
        Some(if forward { coupling } else { coupling.transpose() })
    }

    /// The same, if they are not sparse.
    fn dense_between(&self, from: &str, to: &str) -> Option<Tensor<2>> {
        let topology = &self.config.topology;
        let (index, _) = topology.block_between(from, to)?;
        (!topology.is_sparse(&topology.blocks[index])).then(|| self.coupling_between(from, to)).flatten()
    }

    /// The potential of the free units for one forward pass, differentiable with respect to the parameters.
    pub fn potential(&self) -> Potential {
        let free: Vec<&Group> = self.config.topology.free().collect();
        let sizes: Vec<usize> = free.iter().map(|group| group.units).collect();
        let row = |from: &&Group| {
            let block = |to: &&Group| self.dense_between(&from.name, &to.name);
            free.iter().map(block).collect()
        };
        let blocks: Vec<Vec<_>> = free.iter().map(row).collect();
        let start = |group: &Group| self.config.topology.columns(&group.name).expect("a free group").start;
        let listed = free.iter().flat_map(|group| self.listed(group, start(group))).collect();
        Potential {
            j2: self.unit_row(|group, unit| group.j2.at(unit)),
            j4: self.unit_row(|group, unit| group.j4.at(unit)),
            coupling: Coupling::new(&sizes, &blocks, listed),
        }
    }

    /// J of every coupled pair of free units, each once, on the host.
    pub(crate) fn free_pairs(&self) -> Vec<([usize; 2], f64)> {
        free_pairs(self.topology(), |block| self.pair_couplings(block))
    }

    /// J among the free units as a full symmetric matrix, row-major, on the host.
    pub fn free_couplings(&self) -> Vec<f64> {
        let units = self.free_units();
        let mut dense = vec![0.0; units * units];
        for ([i, j], coupling) in self.free_pairs() {
            (dense[i * units + j], dense[j * units + i]) = (coupling, coupling);
        }
        dense
    }

    /// The couplings with gains, sJs, likewise.
    pub(crate) fn steered_pairs(&self, gain: Option<Tensor<2>>) -> Vec<([usize; 2], f64)> {
        let mut pairs = self.free_pairs();
        if let Some(gain) = gain.map(to_f64) {
            pairs.iter_mut().for_each(|([i, j], value)| *value *= gain[*i] * gain[*j]);
        }
        pairs
    }

    /// Refuses couplings with which units without a quartic well are not confined together.
    ///
    /// # Errors
    /// [`Error::NotJointlyConfining`].
    pub fn check_confinement(&self) -> Result<()> {
        self.check_confinement_under(None, None)
    }

    /// The same with softer wells and with gains, each `[1, unit]`.
    pub(crate) fn check_confinement_under(
        &self,
        shift: Option<Tensor<2>>,
        gain: Option<Tensor<2>>,
    ) -> Result<()> {
        let (shift, gain) = (shift.map(to_f64), gain.map(to_f64));
        check_confinement(self.topology(), shift, gain, || self.free_pairs())
    }

    /// A constant of every free unit as a row `[1, unit]`; `value` is given the group and the index within it.
    pub(crate) fn unit_row(&self, constant: impl Fn(&Group, usize) -> f64) -> Tensor<2> {
        row(self.unit_values(constant), self.options())
    }

    /// The same on the host.
    pub(crate) fn unit_values(&self, constant: impl Fn(&Group, usize) -> f64) -> Vec<f64> {
        self.config.topology.unit_values(constant)
    }
}
