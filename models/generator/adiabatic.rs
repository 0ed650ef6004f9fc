//! Adiabatic hidden units: the force on visible units when hidden units are infinitely fast and so act by their mean.
//!
//! ```text
//! force on the visible units = −h_v − 2d_v∘x − s_v∘W s_h∘φ(−h_h − s_h∘Wᵀ(s_v∘x)),      φ(f) = ⟨x⟩ under f      (16)
//! ```

use std::ops::Range;

use burn::tensor::Tensor;
use thermograd::{Block, Group, Protocol, Response, Substrate, SubstrateConfig, Topology, Well};

use crate::error::{Error, Result};

/// Δt of visible units when hidden units are not simulated.
pub const ADIABATIC_STEP: f64 = 0.02;

/// Visible units under a protocol, with hidden units replaced by their mean.
pub(crate) struct Adiabatic<'a> {
    /// A substrate of the visible units only.
    pub(crate) visible: Substrate,
    protocol: &'a Protocol,
    hidden: Vec<Fast>,
}

/// A group of hidden units.
struct Fast {
    columns: Range<usize>,
    /// `[visible, hidden]`.
    coupling: Tensor<2>,
    response: Response,
}

impl<'a> Adiabatic<'a> {
    /// # Errors
    /// [`Error::Request`] for a computer with couplings within a group or between hidden units, and for a temperature that changes
    /// in time.
    pub(crate) fn new(substrate: &Substrate, protocol: &'a Protocol) -> Result<Self> {
        if protocol.at(0.0).kt.is_some() {
            let reason = "adiabatic hidden units need a constant temperature, and this protocol changes it";
            return Err(Error::Request(reason.into()));
        }
        let topology = substrate.topology();
        let free: Vec<&str> = topology.free().map(|group| group.name.as_str()).collect();
        let between_hidden = |from: &str, to: &str| free[1..].contains(&from) && free[1..].contains(&to);
        let odd = |block: &Block| block.from == block.to || between_hidden(&block.from, &block.to);
        if let Some(block) = topology.blocks.iter().find(|block| odd(block)) {
            return Err(Error::Request(format!(
                "adiabatic hidden units need couplings to visible units alone, and here are {}",
                block.name()
            )));
        }
        let alone = Topology { groups: vec![group(topology, "visible")?.clone()], blocks: vec![] };
        let (kt, options) = (substrate.kt(), substrate.options());
        let mut hidden = Vec::new();
        for group in topology.free().skip(1) {
            let columns = topology.columns(&group.name)?;
            let coupling = match topology.block_between("visible", &group.name) {
                Some((block, true)) => substrate.coupling(block),
                Some((block, false)) => substrate.coupling(block).transpose(),
                None => continue,
            };
            hidden.push(Fast { columns, coupling, response: response(group, kt)? });
        }
        Ok(Self { visible: SubstrateConfig::new(alone).with_kt(kt).init(options)?, protocol, hidden })
    }

    /// The force on the visible units at one time.
    pub(crate) fn force(&self, time: f64, x: &Tensor<2>) -> Tensor<2> {
        let control = self.protocol.at(time);
        let pixels = x.dims()[1];
        let part = |row: &Tensor<2>, columns: Range<usize>| row.clone().slice_dim(1, columns);
        let gain = |columns: Range<usize>| match &control.gain {
            Some(gain) => part(gain, columns),
            None => part(&control.field, columns).ones_like(),
        };
        let mut h_visible = part(&control.field, 0..pixels);
        if let Some(well) = &control.well {
            h_visible = h_visible + part(well, 0..pixels) * x.clone() * 2.0;
        }
        let s_visible = gain(0..pixels);
        let scaled = x.clone() * s_visible.clone();
        self.hidden.iter().fold(-h_visible, |force, Fast { columns, coupling, response }| {
            let (field, gain) = (part(&control.field, columns.clone()), gain(columns.clone()));
            let (to_units, to_pixels) = full(coupling.clone());
            force - pull(scaled.clone(), to_units, to_pixels, field, gain, response).0 * s_visible.clone()
        })
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

/// W s∘φ(−h − s∘Wᵀx) of equation (16), where x is s_v∘x of the visible units, and φ.
///
/// # Shapes
/// `to_units` `[batch, visible]` → `[batch, hidden]` and `to_pixels` back; field and gain over hidden units, or the gain
/// `[batch, 1]` → `[batch, visible]` and `[batch, hidden]`.
pub(crate) fn pull(
    x: Tensor<2>,
    to_units: impl FnOnce(Tensor<2>) -> Tensor<2>,
    to_pixels: impl FnOnce(Tensor<2>) -> Tensor<2>,
    field: Tensor<2>,
    gain: Tensor<2>,
    response: &Response,
) -> (Tensor<2>, Tensor<2>) {
    let means = response.of(&-(field + to_units(x) * gain.clone()));
    (to_pixels(means.clone() * gain), means)
}

/// The products with all of a matrix `[visible, hidden]`.
pub(crate) fn full(
    coupling: Tensor<2>,
) -> (impl FnOnce(Tensor<2>) -> Tensor<2>, impl FnOnce(Tensor<2>) -> Tensor<2>) {
    let (forward, backward) = (coupling.clone(), coupling.transpose());
    (move |x: Tensor<2>| x.matmul(forward), move |h: Tensor<2>| h.matmul(backward))
}
