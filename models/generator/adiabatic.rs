//! Adiabatic hidden units: the force on visible units when hidden units are infinitely fast and so act by their mean.
//!
//! ```text
//! force on the visible units = −h_v − 2d_v∘x − s_v∘W s_h∘φ(−h_h − s_h∘Wᵀ(s_v∘x)),      φ(f) = ⟨x⟩ under f      (16)
//! ```

use burn::tensor::Tensor;
use thermograd::{Group, Protocol, Response, Substrate, SubstrateConfig, Topology, Well};

use crate::error::{Error, Result};

/// Δt of visible units when hidden units are not simulated.
pub const ADIABATIC_STEP: f64 = 0.02;

/// Visible units under a protocol, with hidden units replaced by their mean.
pub(crate) struct Adiabatic<'a> {
    /// A substrate of the visible units only.
    pub(crate) visible: Substrate,
    protocol: &'a Protocol,
    /// `[visible, hidden]`.
    coupling: Tensor<2>,
    response: Response,
}

impl<'a> Adiabatic<'a> {
    /// # Errors
    /// [`Error::Request`] for a computer with couplings within a group, or none between visible and hidden units, and
    /// for a temperature that changes in time.
    pub(crate) fn new(substrate: &Substrate, protocol: &'a Protocol) -> Result<Self> {
        if protocol.at(0.0).kt.is_some() {
            let reason = "adiabatic hidden units need a constant temperature, and this protocol changes it";
            return Err(Error::Request(reason.into()));
        }
        let topology = substrate.topology();
        let within = topology.blocks.iter().any(|block| block.from == block.to);
        let Some((between, true)) = topology.block_between("visible", "hidden").filter(|_| !within) else {
            return Err(Error::Request(
                "adiabatic hidden units need couplings between visible and hidden units and none within a group".into(),
            ));
        };
        let alone = Topology { groups: vec![group(topology, "visible")?.clone()], blocks: vec![] };
        let (kt, options) = (substrate.kt(), substrate.options());
        Ok(Self {
            visible: SubstrateConfig::new(alone).with_kt(kt).init(options)?,
            protocol,
            coupling: substrate.coupling(between),
            response: response(group(topology, "hidden")?, kt)?,
        })
    }

    /// The force on the visible units at one time.
    pub(crate) fn force(&self, time: f64, x: &Tensor<2>) -> Tensor<2> {
        let control = self.protocol.at(time);
        let pixels = x.dims()[1];
        let split = |row: &Tensor<2>| {
            let units = row.dims()[1];
            (row.clone().slice_dim(1, 0..pixels), row.clone().slice_dim(1, pixels..units))
        };
        let (h_visible, h_hidden) = split(&control.field);
        let ones = || (Tensor::ones_like(&h_visible), Tensor::ones_like(&h_hidden));
        let (s_visible, s_hidden) = control.gain.as_ref().map_or_else(ones, split);
        let h_visible = match &control.well {
            Some(well) => h_visible + split(well).0 * x.clone() * 2.0,
            None => h_visible,
        };
        mean_field_force(
            x.clone(),
            self.coupling.clone(),
            [h_visible, h_hidden],
            [s_visible, s_hidden],
            &self.response,
        )
    }
}

/// ⟨x⟩ of a hidden unit under a force.
///
/// # Errors
/// Those of [`Well::new`].
pub(crate) fn response(hidden: &Group, kt: f64) -> Result<Response> {
    /// The largest expected force on hidden units.
    const LARGEST_FORCE: f64 = 6.0;
    Ok(Well::new(hidden, kt, LARGEST_FORCE)?.response(LARGEST_FORCE)?)
}

/// Finds a group by name.
///
/// # Errors
/// [`thermograd::Error::Topology`] when there is none.
pub(crate) fn group<'a>(topology: &'a Topology, name: &str) -> Result<&'a Group> {
    Ok(&topology.groups[topology.group(name)?])
}

/// Equation (16), with 2d∘x included in the field of the visible units.
///
/// # Shapes
/// `x` `[batch, visible]`, `coupling` `[visible, hidden]`, fields and gains over visible and hidden units, or gains
/// `[batch, 1]` → `[batch, visible]`.
pub(crate) fn mean_field_force(
    x: Tensor<2>,
    coupling: Tensor<2>,
    [h_visible, h_hidden]: [Tensor<2>; 2],
    [s_visible, s_hidden]: [Tensor<2>; 2],
    response: &Response,
) -> Tensor<2> {
    let felt = -(h_hidden + (x * s_visible.clone()).matmul(coupling.clone()) * s_hidden.clone());
    let hidden = response.of(&felt);
    -(h_visible + (hidden * s_hidden).matmul(coupling.transpose()) * s_visible)
}
