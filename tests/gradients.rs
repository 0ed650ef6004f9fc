//! Compares gradients by autodiff, local rule, adjoint and finite differences.

use burn::module::{Module, list_param_ids};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use thermograd::{Block, Direction, Group, Key, Pattern, Result, Schedule, Substrate, Topology, to_f64};

use crate::common::{distance, double, networks, normals, per_unit, random};

/// Gradients in the order of the parameters.
fn flat(gradients: &GradientsParams, substrate: &Substrate) -> Vec<Vec<f64>> {
    list_param_ids(substrate).into_iter().map(|id| to_f64(gradients.get::<2>(id).unwrap())).collect()
}

/// ∂A/∂J_ij = r_i x_j + r_j x_i and ∂A/∂b_i = r_i with r = (Δx + μ∂V Δt)/2kT.
#[test]
fn gradient_of_the_action_is_the_local_rule() {
    for (name, topology) in networks() {
        let kt = 0.6;
        let (substrate, clamped) = random(&topology, kt, 4, Key::new(41));
        let schedule = Schedule::new(1e-2, 0.1).unwrap();
        let field = substrate.field(&clamped).unwrap();
        let x0 = normals(4, substrate.free_units(), 0.5, Key::new(42));
        let other = substrate.clone().randomised(0.5, Key::new(43));
        let run = other.trajectory(x0, field.clone(), schedule, 1, Key::new(44)).unwrap();

        let tracked = substrate.valid().train();
        let action = tracked.action(&run, tracked.field(&clamped).unwrap(), Direction::Forward).unwrap();
        let found = flat(&GradientsParams::from_grads(action.sum().backward(), &tracked), &tracked);

        let (before, after) = run.steps();
        let times = before.dims()[0] / 4;
        let rows = field.expand([4, substrate.free_units()]).repeat_dim(0, times);
        let mobility = per_unit(&topology, |group| &group.mobility);
        let mobility = Tensor::<1>::from_data(mobility.as_slice(), double()).unsqueeze_dim(0);
        let gradient = substrate.potential().gradient(before.clone(), rows);
        let r = (after - before.clone() + gradient * mobility * schedule.dt) / (2.0 * kt);
        let value = |group: &str| -> (Option<Tensor<2>>, Tensor<2>) {
            match topology.columns(group) {
                Ok(columns) => {
                    (Some(r.clone().slice_dim(1, columns.clone())), before.clone().slice_dim(1, columns))
                }
                Err(_) => {
                    let place = topology.clamped().position(|g| g.name == group).unwrap();
                    (None, clamped[place].clone().repeat_dim(0, times))
                }
            }
        };
        let mut expected = Vec::new();
        for block in &topology.blocks {
            let ((r_from, x_from), (r_to, x_to)) = (value(&block.from), value(&block.to));
            let [a, b] = [x_from.dims()[1], x_to.dims()[1]];
            let mut local = Tensor::<2>::zeros([a, b], double());
            if let Some(r_from) = r_from {
                local = local + r_from.transpose().matmul(x_to);
            }
            if let Some(r_to) = r_to {
                local = local + x_from.transpose().matmul(r_to);
            }
            let local = to_f64(local);
            expected.push(match &block.pattern {
                thermograd::Pattern::Pairs(pairs) => pairs.iter().map(|[i, j]| local[i * b + j]).collect(),
                // The two stored entries of a pair share its gradient.
                thermograd::Pattern::Full if block.from == block.to => {
                    (0..a * b).map(|k| if k / b == k % b { 0.0 } else { 0.5 * local[k] }).collect()
                }
                thermograd::Pattern::Full => local,
            });
        }
        for group in topology.free().filter(|group| group.bias) {
            expected.push(to_f64(value(&group.name).0.unwrap().sum_dim(0)));
        }
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            let scale = expected.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
            assert!(distance(found, expected) < 1e-10 * scale, "{name}: {found:?} {expected:?}");
        }
    }
}

/// A loss of the final state that also depends on the couplings directly.
fn loss(model: &Substrate, x: Tensor<2>, clamped: &[Tensor<2>]) -> Result<Tensor<1>> {
    let heat = -model.potential().energy(x.clone(), model.field(clamped)?);
    Ok((x.clone() * x.clone() * x).sum() + heat.sum() * 0.1)
}

/// A network large and sparse enough that its pairs are multiplied one by one, next to a block that is not.
fn sparse() -> Topology {
    let units = 2048;
    let groups = vec![Group::clamped("input", units), Group::free("spin", units), Group::free("output", 2)];
    let pairs = |from: &str, to: &str, pair: &dyn Fn(usize) -> [usize; 2]| {
        let pattern = Pattern::Pairs((0..units).map(pair).collect());
        Block { from: from.into(), to: to.into(), pattern }
    };
    let blocks = vec![
        pairs("spin", "spin", &|i| [i, (i + 1) % units]),
        pairs("spin", "input", &|i| [i, units - 1 - i]),
        Block::full("spin", "output"),
    ];
    let topology = Topology { groups, blocks };
    assert!(topology.blocks.iter().map(|block| topology.is_sparse(block)).eq([true, true, false]));
    topology
}

#[test]
fn sparse_couplings_pull_pair_by_pair() {
    let topology = sparse();
    let (substrate, clamped) = random(&topology, 1.0, 2, Key::new(59));
    let (units, field) = (substrate.free_units(), substrate.field(&clamped).unwrap());
    let x = normals(2, units, 0.3, Key::new(60));
    let found = to_f64(substrate.potential().steered_force(x.clone(), field));
    let (x, held) = (to_f64(x), to_f64(clamped[0].clone()));
    let mut expected: Vec<f64> = (0..2).flat_map(|_| to_f64(substrate.bias())).collect();
    for row in 0..2 {
        let x = &x[row * units..][..units];
        let force = &mut expected[row * units..][..units];
        for (index, block) in topology.blocks.iter().enumerate() {
            for ([i, j], coupling) in topology.pairs(block).zip(substrate.pair_couplings(index)) {
                let j = if block.to == "output" { 2048 + j } else { j };
                match block.to == "input" {
                    true => force[i] += coupling * held[row * 2048 + j],
                    false => {
                        force[i] += coupling * x[j];
                        force[j] += coupling * x[i];
                    }
                }
            }
        }
    }
    let pull: Vec<f64> = expected.iter().map(|gradient| -gradient).collect();
    assert!(distance(&found, &pull) < 1e-12);
}

#[test]
fn adjoint_is_autodiff_through_the_steps() {
    for (name, topology) in networks().into_iter().chain([("sparse", sparse())]) {
        let (substrate, clamped) = random(&topology, 1.0, 3, Key::new(51));
        let schedule = Schedule::new(1e-2, 0.3).unwrap();
        let x0 = normals(3, substrate.free_units(), 0.3, Key::new(52));
        let key = Key::new(53).skip(7);
        let (value, by_adjoint) = substrate
            .pathwise(x0.clone(), &clamped, schedule, key, |model, x| loss(model, x, &clamped))
            .unwrap();
        let tracked = substrate.valid().train();
        let x = tracked.forward(x0, tracked.field(&clamped).unwrap(), schedule, key);
        let direct = loss(&tracked, x, &clamped).unwrap();
        assert!((direct.clone().into_scalar::<f64>() - value).abs() < 1e-10 * (1.0 + value.abs()), "{name}");
        let by_autodiff = GradientsParams::from_grads(direct.backward(), &tracked);
        for (a, b) in flat(&by_adjoint, &substrate).iter().zip(flat(&by_autodiff, &tracked)) {
            let scale = b.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
            assert!(distance(a, &b) < 1e-10 * scale, "{name}");
        }
    }
}

#[test]
fn adjoint_matches_finite_differences_at_a_fixed_key() {
    let (_, topology) = &networks()[0];
    let (substrate, clamped) = random(topology, 1.0, 3, Key::new(54));
    let schedule = Schedule::new(1e-2, 0.3).unwrap();
    let x0 = normals(3, substrate.free_units(), 0.3, Key::new(55));
    let value = |substrate: &Substrate| {
        let loss = |model: &Substrate, x: Tensor<2>| loss(model, x, &clamped);
        substrate.pathwise(x0.clone(), &clamped, schedule, Key::new(56), loss).unwrap()
    };
    let (_, gradients) = value(&substrate);
    let gradients = flat(&gradients, &substrate);
    let h = 1e-5;
    for (block, gradient) in gradients.iter().enumerate().take(topology.blocks.len()) {
        let [rows, columns] = substrate.coupling(block).dims();
        let direction = normals(rows, columns, 1.0, Key::new(57).at(block as u64));
        let moved = |h: f64| {
            let coupling = substrate.coupling(block) + direction.clone() * h;
            value(&substrate.clone().with_coupling(block, coupling).unwrap()).0
        };
        let slope = (moved(h) - moved(-h)) / (2.0 * h);
        let along: f64 = gradient.iter().zip(to_f64(direction)).map(|(g, d)| g * d).sum();
        assert!((slope - along).abs() < 1e-6 * (1.0 + along.abs()), "block {block}: {slope} {along}");
    }
    let direction = normals(1, substrate.free_units(), 1.0, Key::new(58));
    let moved = |h: f64| {
        let bias = substrate.bias() + direction.clone() * h;
        value(&substrate.clone().with_bias(bias).unwrap()).0
    };
    let slope = (moved(h) - moved(-h)) / (2.0 * h);
    let along: f64 = gradients[topology.blocks.len()..]
        .concat()
        .iter()
        .zip(to_f64(direction.clone()))
        .map(|(g, d)| g * d)
        .sum();
    assert!((slope - along).abs() < 1e-6 * (1.0 + along.abs()), "bias: {slope} {along}");
}
