//! Networks and numbers that several files test with.

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use thermograd::{Block, Group, Key, Pattern, Substrate, SubstrateConfig, Topology};

/// f64 on the CPU.
pub fn double() -> TensorCreationOptions {
    TensorCreationOptions::new(Device::flex()).with_dtype(DType::F64)
}

/// Random normals in f64.
pub fn normals(rows: usize, columns: usize, scale: f64, key: Key) -> Tensor<2> {
    let values: Vec<f64> = key.normals(0, rows, columns).iter().map(|&v| scale * f64::from(v)).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), double())
}

/// Networks of every kind: all-to-all, layered, sparse, with a gap between sources, bistable, unequal mobilities.
pub fn networks() -> Vec<(&'static str, Topology)> {
    let groups = || {
        [
            Group::clamped("input", 5),
            Group::free("hidden", 4).wells(-0.5, 0.7).mobility(3.0),
            Group::free("output", 3).wells(0.8, 0.0),
        ]
    };
    let mut sparse = Topology::layered(groups());
    sparse.blocks.push(Block {
        from: "output".into(),
        to: "output".into(),
        pattern: Pattern::Pairs(vec![[0, 1], [2, 1]]),
    });
    let mut gap = Topology::layered([
        Group::free("a", 2),
        Group::free("b", 3).unbiased().mobility(0.5),
        Group::free("c", 2).wells(0.0, 0.4),
    ]);
    gap.blocks = vec![Block::full("c", "a"), Block::full("b", "b")];
    vec![
        ("all to all", Topology::all_to_all(groups())),
        ("layered", Topology::layered(groups())),
        ("sparse", sparse),
        ("gap", gap),
        ("grid", Topology::grid(Group::free("cell", 12), 4, 3, true).unwrap()),
    ]
}

/// A random computer in f64, and the clamped values of `batch` images.
pub fn random(topology: &Topology, kt: f64, batch: usize, key: Key) -> (Substrate, Vec<Tensor<2>>) {
    let config = SubstrateConfig::new(topology.clone()).with_kt(kt);
    let mut substrate = config.init(double()).unwrap().randomised(1.0, key);
    let bias = normals(1, substrate.free_units(), 0.5, key.fork("bias"));
    substrate = substrate.with_bias(bias).unwrap();
    let clamped = topology.clamped().map(|group| normals(batch, group.units, 1.0, key.fork(&group.name)));
    (substrate, clamped.collect())
}

/// The largest difference of two lists.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
