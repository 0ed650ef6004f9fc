//! Compares gradients by autodiff, local rule, adjoint and finite differences.

use burn::module::{Module, Param, list_param_ids};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use thermograd::{
    Block, Control, Direction, Group, Integrator, Key, Overdamped, Pattern, Protocol, Result, Schedule,
    Substrate, Topology, Unrolled, advance, to_f64,
};

use crate::common::{distance, double, networks, normals, per_unit, random};
use crate::devices::others;

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

/// A computer with a protocol and a start that are trained too.
#[derive(Module, Debug)]
struct Steered {
    substrate: Substrate,
    fields: Vec<Param<Tensor<2>>>,
    gains: Vec<Param<Tensor<2>>>,
    wells: Vec<Param<Tensor<2>>>,
    temperatures: Vec<Param<Tensor<2>>>,
    start: Param<Tensor<2>>,
}

/// A steered computer with three knots, of which some kinds of control may be left out, and baths of its trajectories.
fn steered(kinds: [bool; 3], rows: usize, batch: usize) -> Steered {
    let (_, topology) = &networks()[0];
    let (substrate, _) = random(topology, 0.7, batch, Key::new(81));
    let units = substrate.free_units();
    let values = |name: &str, rows: usize, columns: usize, scale: f64, middle: f64| {
        let knot = |k: u64| normals(rows, columns, scale, Key::new(82).fork(name).at(k)) + middle;
        (0..3).map(|k| Param::from_tensor(knot(k))).collect::<Vec<_>>()
    };
    let some = |kind: usize, all: Vec<Param<Tensor<2>>>| if kinds[kind] { all } else { Vec::new() };
    Steered {
        fields: values("field", rows, units, 0.5, 0.0),
        gains: some(0, values("gain", 1, units, 0.2, 1.0)),
        wells: some(1, values("well", 1, units, 0.1, 0.2)),
        temperatures: some(2, values("kT", rows, 1, 0.05, 0.5)),
        start: Param::from_tensor(normals(batch, units, 0.4, Key::new(83))),
        substrate,
    }
}

impl Steered {
    fn machine(&self, integrator: Integrator) -> Result<(Overdamped, Tensor<2>)> {
        let at = |all: &[Param<Tensor<2>>], k: usize| all.get(k).map(Param::val);
        let knot = |k: usize| Control {
            field: self.fields[k].val(),
            gain: at(&self.gains, k),
            well: at(&self.wells, k),
            kt: at(&self.temperatures, k),
        };
        // Before the first step, between steps, and before the last.
        let protocol = Protocol::new(vec![0.0, 0.113, 0.27], (0..3).map(knot).collect())?;
        let dynamics = Overdamped::new(&self.substrate, protocol, 1e-2, Key::new(84).skip(3))?;
        Ok((dynamics.with_integrator(integrator), self.start.val()))
    }

    /// A loss that depends on couplings and start directly, too.
    fn loss(&self, x: Tensor<2>) -> Result<Tensor<1>> {
        let direct = (self.substrate.bias().powi_scalar(2)).sum() + (self.start.val() * x.clone()).sum();
        Ok((x.clone() * x.clone() * x.clone()).sum() + x.sin().sum() + direct * 0.3)
    }

    fn flat(&self, gradients: &GradientsParams) -> Vec<Vec<f64>> {
        // Fields are parameters of their own here, and couplings to clamped units do nothing.
        let of = |id| gradients.get::<2>(id).map_or(Vec::new(), to_f64);
        list_param_ids(self).into_iter().map(of).collect()
    }
}

/// Of couplings, fields, gains, wells and temperatures at the knots of a protocol, and of the start: by the adjoint as by autodiff through
/// all steps, by both integrators; the same to the last bit from a few states that were kept; and as finite differences.
#[test]
fn the_adjoint_reaches_protocols_and_starts_from_few_states() {
    const STEPS: usize = 31;
    let (batch, mut checked) = (3, 0);
    for kinds in [[false; 3], [true, false, false], [false, true, false], [false, false, true], [true; 3]] {
        for (rows, integrator) in [(1, Integrator::EulerMaruyama), (batch, Integrator::LeimkuhlerMatthews)] {
            let model = steered(kinds, rows, batch);
            let gradient = |model: &Steered, memory: usize| {
                let machine = |model: &Steered| model.machine(integrator);
                let unrolled = Unrolled::new(STEPS).with_memory(memory);
                unrolled.gradient(model, machine, |model, x| model.loss(x)).unwrap()
            };
            let (value, stored) = gradient(&model, usize::MAX);
            let stored = model.flat(&stored);
            let (again, few) = gradient(&model, 0);
            assert!(again == value && model.flat(&few) == stored, "{kinds:?}: checkpoints change gradients");

            let tracked = model.valid().train();
            let (dynamics, x0) = tracked.machine(integrator).unwrap();
            let direct = tracked.loss(advance(&dynamics, x0, 0..STEPS, |_| {})).unwrap();
            assert!((direct.clone().into_scalar::<f64>() - value).abs() < 1e-10 * (1.0 + value.abs()));
            let autodiff = tracked.flat(&GradientsParams::from_grads(direct.backward(), &tracked));
            for (a, b) in stored.iter().zip(&autodiff) {
                let scale = b.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
                assert!(
                    a.len() == b.len() && distance(a, b) < 1e-10 * scale,
                    "{kinds:?}, {integrator:?}: {a:?} {b:?}"
                );
                checked += a.len();
            }

            // Along a random direction of everything.
            let moved = |h: f64| {
                let mut place = 0;
                let mut shift = |parameter: Param<Tensor<2>>| {
                    place += 1;
                    parameter.map(|x| {
                        let [rows, columns] = x.dims();
                        x + normals(rows, columns, h, Key::new(85).at(place))
                    })
                };
                let mut model = model.clone();
                model.substrate = model
                    .substrate
                    .clone()
                    .with_bias({
                        let bias = model.substrate.bias();
                        let [rows, columns] = bias.dims();
                        bias + normals(rows, columns, h, Key::new(86))
                    })
                    .unwrap();
                for all in [&mut model.fields, &mut model.gains, &mut model.wells, &mut model.temperatures] {
                    *all = std::mem::take(all).into_iter().map(&mut shift).collect();
                }
                model.start = shift(model.start);
                gradient(&model, usize::MAX).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let blocks = model.substrate.topology().blocks.len();
            let [bias, rest] = {
                let names = list_param_ids(&model.substrate).len();
                [blocks..names, names..stored.len()]
            };
            let biases = stored[bias].concat();
            let mut along: f64 = biases
                .iter()
                .zip(to_f64(normals(1, biases.len(), 1.0, Key::new(86))))
                .map(|(g, d)| g * d)
                .sum();
            let sizes =
                [&model.fields, &model.gains, &model.wells, &model.temperatures].map(|all| all.iter());
            let shapes = sizes.into_iter().flatten().chain([&model.start]).map(|p| p.val().dims());
            for ((place, [rows, columns]), gradient) in shapes.enumerate().zip(&stored[rest]) {
                let direction = to_f64(normals(rows, columns, 1.0, Key::new(85).at(place as u64 + 1)));
                along += gradient.iter().zip(direction).map(|(g, d)| g * d).sum::<f64>();
            }
            assert!((slope - along).abs() < 1e-6 * (1.0 + along.abs()), "{kinds:?}: {slope} {along}");
        }
    }
    println!("{checked} gradients");
}

/// The same computer with about one coupling in fifteen, and zeros in the place of the others.
fn thinned(mut substrate: Substrate) -> Substrate {
    for block in 0..substrate.topology().blocks.len() {
        let coupling = substrate.coupling(block);
        let [rows, columns] = coupling.dims();
        let kept = normals(rows, columns, 1.0, Key::new(90).at(block as u64)).greater_elem(1.5).float();
        substrate = substrate.with_coupling(block, coupling * kept.cast(burn::tensor::DType::F64)).unwrap();
    }
    substrate
}

/// Every parameter in single precision.
struct Single;

impl burn::module::ModuleMapper for Single {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|x| x.cast(burn::tensor::DType::F32))
    }
}

/// Steps in one pass (single precision), and on every other backend, end where steps by tensors (double precision) do, and have their gradients,
/// with and without each kind of control parameter; couplings that are zero, which products leave out where they are most, have gradients too.
#[test]
fn steps_in_one_pass_are_those_of_tensors() {
    const STEPS: usize = 31;
    for kinds in [[false; 3], [true, false, false], [false, true, false], [false, false, true], [true; 3]] {
        for (rows, integrator, thin) in [
            (1, Integrator::EulerMaruyama, false),
            (5, Integrator::LeimkuhlerMatthews, false),
            (1, Integrator::EulerMaruyama, true),
        ] {
            let mut double = steered(kinds, rows, 5);
            if thin {
                double.substrate = thinned(double.substrate);
            }
            let single = double.clone().map(&mut Single);
            let elsewhere = others().into_iter().map(|(_, device)| single.clone().to_device(&device));
            let models: Vec<_> = [double, single.clone()].into_iter().chain(elsewhere).collect();
            let mut found = models.into_iter().map(|model| {
                let (dynamics, x0) = model.valid().machine(integrator).unwrap();
                let x = to_f64(advance(&dynamics, x0, 0..STEPS, |_| {}));
                let machine = |model: &Steered| model.machine(integrator);
                let unrolled = Unrolled::new(STEPS).with_memory(0);
                let gradient = unrolled.gradient(&model, machine, |model, x| model.loss(x));
                (x, model.flat(&gradient.unwrap().1))
            });
            let (x, gradients) = found.next().expect("in double precision");
            for (single_x, single_gradients) in found {
                assert!(distance(&x, &single_x) < 2e-6, "{kinds:?}: {}", distance(&x, &single_x));
                for (a, b) in gradients.iter().zip(&single_gradients) {
                    let scale = a.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
                    assert!(a.len() == b.len() && distance(a, b) < 1e-5 * scale, "{kinds:?}: {a:?} {b:?}");
                }
            }
        }
    }
    let all = networks().into_iter().chain([("sparse", sparse())]);
    for ((name, topology), batch) in all.flat_map(|one| [(one.clone(), 9), (one, 21)]) {
        let (mut double, clamped) = random(&topology, 1.0, batch, Key::new(87));
        if batch > 9 {
            double = thinned(double);
        }
        let x0 = normals(batch, double.free_units(), 0.3, Key::new(88));
        let schedule = Schedule::new(1e-2, 0.3).unwrap();
        let gradient = |model: &Substrate, dtype| {
            let clamped: Vec<_> = clamped.iter().map(|x| x.clone().cast(dtype)).collect();
            let loss = |model: &Substrate, x: Tensor<2>| loss(model, x, &clamped);
            let found = model.pathwise(x0.clone().cast(dtype), &clamped, schedule, Key::new(89), loss);
            flat(&found.unwrap().1, model)
        };
        let reference = gradient(&double, burn::tensor::DType::F64);
        let found = gradient(&double.clone().map(&mut Single), burn::tensor::DType::F32);
        for (a, b) in reference.iter().zip(&found) {
            let scale = a.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
            assert!(a.len() == b.len() && distance(a, b) < 1e-5 * scale, "{name}");
        }
    }
}
