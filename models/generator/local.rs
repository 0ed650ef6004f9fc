//! Hidden units that see a part of the image: the same filters everywhere in training, couplings like any others in the
//! computer.
//!
//! A unit of filter f at a place p of a grid of four pixels' spacing is coupled to the 12 × 12 pixels around it, with
//! couplings L_f that its siblings elsewhere share, and feels the field
//!
//! ```text
//! h_pf(t) = b_f(t) + β_pf + u_f(t) U_pf,class.      (59)
//! ```

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use thermograd::{Key, Response};

use crate::error::{Error, Result};
use crate::generator::adiabatic::pull;
use crate::training::network::rows;

/// Pixels of a side of what a unit sees, between two places, and beyond the image.
const WINDOW: usize = 12;
const STRIDE: usize = 4;
const PADDING: usize = 4;

/// Blocks of pixels of a side of what a unit sees.
const BLOCKS: usize = WINDOW / STRIDE;

/// Where the blocks of a window are, in blocks from its first.
fn offsets() -> impl Iterator<Item = [usize; 2]> {
    (0..BLOCKS).flat_map(|row| (0..BLOCKS).map(move |column| [row, column]))
}

/// Local hidden units in training.
#[derive(Module, Debug)]
pub(crate) struct Local {
    /// L, `[pixel of the window, filter]`.
    filters: Param<Tensor<2>>,
    /// The gains of all of them, `[knot, 1]`, or of each filter, `[knot, filter]`.
    gain: Param<Tensor<2>>,
    /// b and u, `[knot, filter]`.
    bias: Param<Tensor<2>>,
    selection: Param<Tensor<2>>,
    /// β, `[1, unit]`.
    place: Param<Tensor<2>>,
    /// U, `[class, unit]`.
    class: Param<Tensor<2>>,
    /// Rows and columns of the image.
    #[module(skip)]
    image: [usize; 2],
}

/// The numbers of places down and across.
pub(crate) fn places(image: [usize; 2]) -> [usize; 2] {
    image.map(|side| side / STRIDE)
}

/// The rows or columns of an image that a place sees, with those of the window that are on it.
fn seen(place: usize, side: usize) -> Range<usize> {
    (place * STRIDE).saturating_sub(PADDING)..side.min(place * STRIDE + WINDOW - PADDING)
}

/// How many local units `filters` filters have on an image of these channels, rows and columns.
///
/// # Errors
/// [`Error::Request`] for images in colour, and where the places do not cover the image evenly.
pub(crate) fn units(filters: usize, [channels, high, wide]: [usize; 3]) -> Result<usize> {
    if channels != 1 || !high.is_multiple_of(STRIDE) || !wide.is_multiple_of(STRIDE) {
        return Err(Error::Request(format!(
            "local hidden units need images of one channel whose sides are multiples of {STRIDE}, and these have {channels} channels of \
             {wide} × {high} pixels"
        )));
    }
    Ok(filters * places([high, wide]).iter().product::<usize>())
}

/// The pairs of pixel and unit that couple, in order; unit f·places + p is that of filter f at place p.
fn pairs(filters: usize, image: [usize; 2]) -> Vec<[usize; 2]> {
    let ([high, wide], [down, across]) = (image, places(image));
    let mut pairs = Vec::new();
    for (pixel_row, pixel_column) in (0..high).flat_map(|row| (0..wide).map(move |column| (row, column))) {
        for unit in 0..filters * down * across {
            let place = unit % (down * across);
            let (row, column) = (place / across, place % across);
            if seen(row, high).contains(&pixel_row) && seen(column, wide).contains(&pixel_column) {
                pairs.push([pixel_row * wide + pixel_column, unit]);
            }
        }
    }
    pairs
}

impl Local {
    pub(crate) fn new(
        [filters, knots, classes]: [usize; 3],
        gain: Tensor<2>,
        image: [usize; 3],
        scale: f64,
        key: Key,
        device: &Device,
    ) -> Result<Self> {
        let units = units(filters, image)?;
        let [_, high, wide] = image;
        let values = key.normals(0, WINDOW * WINDOW, filters);
        let zeros = |shape: [usize; 2]| Param::from_tensor(Tensor::zeros(shape, device));
        let ones = |shape: [usize; 2]| Param::from_tensor(Tensor::ones(shape, device));
        Ok(Self {
            filters: Param::from_tensor(rows(values, WINDOW * WINDOW, device) * scale),
            gain: Param::from_tensor(gain),
            bias: zeros([knots, filters]),
            selection: ones([knots, filters]),
            place: zeros([1, units]),
            class: zeros([classes, units]),
            image: [high, wide],
        })
    }

    /// The pairs of pixel and unit that couple.
    pub(crate) fn pairs(&self) -> Vec<[usize; 2]> {
        pairs(self.count(), self.image)
    }

    fn count(&self) -> usize {
        self.filters.val().dims()[1]
    }

    /// The gain of all units at each knot, `[knot, 1]`, or that of each, `[knot, unit]`.
    pub(crate) fn gains(&self) -> Tensor<2> {
        let gain = self.gain.val();
        if gain.dims()[1] == 1 { gain } else { self.spread(gain) }
    }

    /// One value a filter for each of its places: `[row, filter]` → `[row, unit]`.
    fn spread(&self, values: Tensor<2>) -> Tensor<2> {
        let ([rows, filters], places) = (values.dims(), places(self.image).iter().product::<usize>());
        values.reshape([rows, filters, 1]).expand([rows, filters, places]).reshape([rows, filters * places])
    }

    /// What they exert on the visible units, without the gain of these, and their means.
    ///
    /// # Shapes
    /// `x` `[row, pixel]`, times the gain of the visible units; `clock` `[row, knot]`; `label` `[row, knot · class]` →
    /// `[row, pixel]` and `[row, unit]`.
    pub(crate) fn pull(
        &self,
        x: Tensor<2>,
        clock: &Tensor<2>,
        label: &Tensor<2>,
        response: &Response,
    ) -> (Tensor<2>, Tensor<2>) {
        let [count, knots] = clock.dims();
        // How much there is of all knots.
        let there = clock.clone().sum_dim(1);
        // Rows have one class, or none.
        let class =
            label.clone().reshape([count as i64, knots as i64, -1]).sum_dim(1).reshape([count as i64, -1])
                / there.clone().clamp_min(1e-6);
        let field = self.spread(clock.clone().matmul(self.bias.val()))
            + self.place.val() * there
            + self.spread(clock.clone().matmul(self.selection.val())) * class.matmul(self.class.val());
        let gain = clock.clone().matmul(self.gains());
        pull(x, |x| self.to_units(x), |hidden| self.to_pixels(hidden), field, gain, response)
    }

    /// L with the pixels of a window block by block, `[block and pixel in it, filter]`.
    fn weight(&self) -> Tensor<2> {
        let filters = self.filters.val().reshape([BLOCKS, STRIDE, BLOCKS, STRIDE, self.count()]);
        filters.swap_dims(1, 2).reshape([WINDOW * WINDOW, self.count()])
    }

    /// What units feel of pixels, without their gain: `[row, pixel]` → `[row, unit]`. One product of all windows; convolutions with
    /// filters as large as these are many times slower.
    fn to_units(&self, x: Tensor<2>) -> Tensor<2> {
        let ([count, _], [down, across]) = (x.dims(), places(self.image));
        // Blocks of pixels, with a margin of one block.
        let x = x.reshape([count, down, STRIDE, across, STRIDE]).swap_dims(2, 3);
        let x = x.reshape([count, down, across, STRIDE * STRIDE]).pad([(0, 0), (1, 1), (1, 1), (0, 0)], 0.0);
        let windows = offsets().map(|[row, column]| {
            x.clone().slice_dim(1, row..row + down).slice_dim(2, column..column + across)
        });
        let windows = Tensor::cat(windows.collect(), 3).reshape([count * down * across, WINDOW * WINDOW]);
        let units = windows.matmul(self.weight()).reshape([count, down * across, self.count()]);
        units.swap_dims(1, 2).reshape([count, self.count() * down * across])
    }

    /// The transpose: `[row, unit]` → `[row, pixel]`.
    fn to_pixels(&self, hidden: Tensor<2>) -> Tensor<2> {
        let ([count, _], [down, across]) = (hidden.dims(), places(self.image));
        let hidden = hidden.reshape([count, self.count(), down * across]).swap_dims(1, 2);
        let windows = hidden.reshape([count * down * across, self.count()]).matmul(self.weight().transpose());
        let windows = windows.reshape([count, down, across, WINDOW * WINDOW]);
        let block = STRIDE * STRIDE;
        let padded = offsets().enumerate().map(|(k, [row, column])| {
            let [before, after] = [[row, column], [BLOCKS - 1 - row, BLOCKS - 1 - column]];
            let part = windows.clone().slice_dim(3, k * block..(k + 1) * block);
            part.pad([(0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0)], 0.0)
        });
        let x = padded.reduce(|a, b| a + b).expect("offsets");
        let x = x.slice_dim(1, 1..down + 1).slice_dim(2, 1..across + 1);
        let x = x.reshape([count, down, across, STRIDE, STRIDE]).swap_dims(2, 3);
        x.reshape([count, down * across * block])
    }

    /// The couplings to the pixels, `[pixel, unit]`, and the fields of the clock and label units, `[knot, unit]` and
    /// `[knot · class, unit]`.
    pub(crate) fn couplings(&self) -> [Tensor<2>; 3] {
        // What units feel of every pixel alone.
        let pixels = Tensor::eye(self.image.iter().product(), &self.filters.val().device());
        let to_visible = self.to_units(pixels);
        let [_, units] = to_visible.dims();
        let clock = self.spread(self.bias.val()) + self.place.val();
        let [knots, _] = self.selection.val().dims();
        let [classes, _] = self.class.val().dims();
        let selection = self.spread(self.selection.val()).reshape([knots, 1, units]);
        let label = selection * self.class.val().reshape([1, classes, units]);
        [to_visible, clock, label.reshape([knots * classes, units])]
    }
}
