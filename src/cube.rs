//! Noise and steps on a GPU, by kernels of our own: during a run nothing crosses the bus but the
//! course of its protocol, once a launch.
//!
//! The normals of [`Key`] are drawn where they are needed. Words of the generator are equal to the last bit on every
//! device; normals to two units in the last place, since devices fuse products with sums and round quotients as they
//! like. Where the couplings fit the memory of a workgroup a run is one launch ([`trajectory`]); where they do not, a
//! step is one launch after the products ([`step`]).

use burn::backend::Cube;
use burn::cubecl::calculate_cube_count_elemwise;
use burn::cubecl::prelude::{CubeCount, CubeDim};
use burn::tensor::{DType, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;

use crate::kernels::{SourceLaunch, draw_kernel, pull_kernel, step_kernel, trajectory_kernel};
use crate::noise::Key;

/// The values of a tensor of single precision on a GPU that is not tracked.
pub(crate) fn device(tensor: &Tensor<2>) -> Option<CubeTensor> {
    let tensor = tensor.clone().try_into_primitive::<Cube>().ok()?;
    (tensor.dtype == DType::F32).then(|| into_contiguous(tensor))
}

fn empty(like: &CubeTensor, shape: [usize; 2]) -> CubeTensor {
    empty_device_dtype(like.client.clone(), like.device.clone(), shape.into(), DType::F32)
}

fn source(key: Key) -> SourceLaunch {
    let ([key0, key1], trajectory) = key.parts();
    SourceLaunch::new(key0, key1, trajectory as u32, (trajectory >> 32) as u32)
}

/// Normals or uniform numbers of a step, `[batch, unit]`, drawn on the device of `beside`; none if that is no GPU.
pub(crate) fn draw(
    key: Key,
    step: usize,
    beside: &Tensor<2>,
    [batch, units]: [usize; 2],
    uniform: bool,
) -> Option<Tensor<2>> {
    let like = device(beside)?;
    let out = empty(&like, [batch, units]);
    let threads = batch * units.div_ceil(4);
    if threads > 0 {
        let (count, dim) = workgroups(&like, threads);
        draw_kernel::launch(
            &like.client,
            count,
            dim,
            out.clone().into_tensor_arg(),
            source(key),
            step as u32,
            units as u32,
            uniform,
        );
    }
    Some(Tensor::from_primitive::<Cube>(out))
}

fn workgroups(like: &CubeTensor, threads: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(&like.client, threads);
    (calculate_cube_count_elemwise(&like.client, threads, dim), dim)
}

/// What a step needs besides the products, for every kind of control parameter.
pub(crate) struct Row<'a> {
    /// D + w, `[1, unit]`.
    pub(crate) diagonal: &'a Tensor<2>,
    /// q, `[1, unit]`.
    pub(crate) quartic: &'a Tensor<2>,
    /// d, `[1 or batch, unit]`.
    pub(crate) drift: &'a Tensor<2>,
    /// The factors of the normals of this step and of the next, `[1 or batch, unit]`; the same twice where the second
    /// is not drawn.
    pub(crate) factors: [&'a Tensor<2>; 2],
    /// Whether the normals of the next step are drawn too (21).
    pub(crate) both: bool,
}

/// One step after the products with the couplings; none if something is not on the device.
pub(crate) fn step(
    key: Key,
    index: usize,
    x: &Tensor<2>,
    product: &Tensor<2>,
    row: &Row,
) -> Option<Tensor<2>> {
    let [batch, units] = x.dims();
    let like = device(x)?;
    let out = empty(&like, [batch, units]);
    let threads = batch * units.div_ceil(4);
    let arguments = [product, row.diagonal, row.quartic, row.drift, row.factors[0], row.factors[1]];
    let [product, diagonal, quartic, drift, factor, next] = arguments.map(device);
    if threads > 0 {
        let (count, dim) = workgroups(&like, threads);
        step_kernel::launch(
            &like.client,
            count,
            dim,
            like.clone().into_tensor_arg(),
            product?.into_tensor_arg(),
            diagonal?.into_tensor_arg(),
            quartic?.into_tensor_arg(),
            drift?.into_tensor_arg(),
            factor?.into_tensor_arg(),
            next?.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            source(key),
            index as u32,
            units as u32,
            row.both,
        );
    }
    Some(Tensor::from_primitive::<Cube>(out))
}

/// A run whose couplings fit the memory of a workgroup.
pub(crate) struct Run<'a> {
    /// P as one matrix `[unit, unit]`.
    pub(crate) couplings: &'a Tensor<2>,
    /// D and q, `[1, unit]`.
    pub(crate) diagonal: &'a Tensor<2>,
    pub(crate) quartic: &'a Tensor<2>,
    /// d at every knot, `[knot · (1 or batch), unit]`.
    pub(crate) drift: &'a Tensor<2>,
    /// s and w at every knot, `[knot, unit]`.
    pub(crate) gain: Option<&'a Tensor<2>>,
    pub(crate) well: Option<&'a Tensor<2>>,
    /// kT at every knot, `[knot · (1 or batch), 1]`.
    pub(crate) kt: Option<&'a Tensor<2>>,
    /// The factor of the normals, apart from √kT if there are temperatures, `[1, unit]`.
    pub(crate) factor: &'a Tensor<2>,
    /// The knot before each step and one more, and the weight of the knot after it, `[step + 1, 2]`.
    pub(crate) course: &'a Tensor<2>,
    pub(crate) knots: usize,
    /// Whether the normals of the next step are drawn too (21).
    pub(crate) both: bool,
}

/// Whether the couplings of so many units fit the memory of a workgroup of this device.
pub(crate) fn fits(x: &Tensor<2>) -> bool {
    device(x).is_some_and(|like| rows_of(&like, x.dims()[1]).is_some())
}

/// The most workgroups of a launch that every device takes.
const WORKGROUPS: usize = 65_535;

/// Whether numbers of a launch can be counted in 32 bits, and its workgroups.
fn countable(rows: usize, batch: usize, steps: usize, units: usize) -> bool {
    let numbers = (steps as u64).saturating_mul(batch as u64).saturating_mul(units as u64);
    batch.div_ceil(rows) <= WORKGROUPS && numbers <= u64::from(u32::MAX)
}

/// How many trajectories a workgroup takes; none if the couplings do not fit its memory.
fn rows_of(like: &CubeTensor, units: usize) -> Option<usize> {
    let hardware = &like.client.properties().hardware;
    let memory = hardware.max_shared_memory_size / size_of::<f32>();
    let threads = (hardware.max_units_per_cube as usize).min(256);
    let free = memory.checked_sub(units * units + units)?;
    let rows = (free / (2 * units.max(1))).min(threads / units.div_ceil(4).max(1)).max(1);
    (units > 0 && 2 * rows * units <= free).then_some(rows)
}

/// `steps` steps from `first` on in one launch: the state after them, `[batch, unit]`, or after each of them,
/// `[step · batch, unit]`; none if the couplings do not fit a workgroup or something is not on the device.
pub(crate) fn trajectory(
    key: Key,
    first: usize,
    steps: usize,
    x: &Tensor<2>,
    run: &Run,
    keep: bool,
) -> Option<Tensor<2>> {
    let [batch, units] = x.dims();
    let like = device(x)?;
    let rows = rows_of(&like, units)?;
    if batch == 0 || steps == 0 || !countable(rows, batch, steps, units) {
        return None;
    }
    let out = empty(&like, [if keep { steps * batch } else { batch }, units]);
    let none = run.factor;
    let arguments = [run.couplings, run.diagonal, run.quartic, run.drift].map(device);
    let [couplings, diagonal, quartic, drift] = arguments;
    let arguments = [run.gain.unwrap_or(none), run.well.unwrap_or(none), run.kt.unwrap_or(none)].map(device);
    let [gain, well, kt] = arguments;
    let threads = (rows * units.div_ceil(4)) as u32;
    trajectory_kernel::launch(
        &like.client,
        CubeCount::new_1d(batch.div_ceil(rows) as u32),
        CubeDim::new_1d(threads),
        like.clone().into_tensor_arg(),
        couplings?.into_tensor_arg(),
        diagonal?.into_tensor_arg(),
        quartic?.into_tensor_arg(),
        drift?.into_tensor_arg(),
        gain?.into_tensor_arg(),
        well?.into_tensor_arg(),
        kt?.into_tensor_arg(),
        device(run.factor)?.into_tensor_arg(),
        device(run.course)?.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        source(key),
        first as u32,
        steps as u32,
        batch as u32,
        run.knots as u32,
        units as u32,
        rows as u32,
        run.gain.is_some(),
        run.well.is_some(),
        run.kt.is_some(),
        run.both,
        keep,
    );
    Some(Tensor::from_primitive::<Cube>(out))
}

/// ∂L/∂x_t of a stretch of steps, `[step · batch, unit]`, from the states before them, `[step · batch, unit]`, and
/// ∂L/∂x after the last, in one launch; none if the couplings do not fit a workgroup or something is not on the device.
pub(crate) fn pull(steps: usize, states: &Tensor<2>, end: &Tensor<2>, run: &Run) -> Option<Tensor<2>> {
    let [batch, units] = end.dims();
    let like = device(end)?;
    let rows = rows_of(&like, units)?;
    if batch == 0 || steps == 0 || !countable(rows, batch, steps, units) {
        return None;
    }
    let out = empty(&like, [steps * batch, units]);
    let none = run.factor;
    let arguments = [states, run.couplings, run.diagonal, run.quartic].map(device);
    let [states, couplings, diagonal, quartic] = arguments;
    let [gain, well, course] = [run.gain.unwrap_or(none), run.well.unwrap_or(none), run.course].map(device);
    pull_kernel::launch(
        &like.client,
        CubeCount::new_1d(batch.div_ceil(rows) as u32),
        CubeDim::new_1d((rows * units.div_ceil(4)) as u32),
        states?.into_tensor_arg(),
        like.clone().into_tensor_arg(),
        couplings?.into_tensor_arg(),
        diagonal?.into_tensor_arg(),
        quartic?.into_tensor_arg(),
        gain?.into_tensor_arg(),
        well?.into_tensor_arg(),
        course?.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        steps as u32,
        batch as u32,
        run.knots as u32,
        units as u32,
        rows as u32,
        run.gain.is_some(),
        run.well.is_some(),
    );
    Some(Tensor::from_primitive::<Cube>(out))
}
