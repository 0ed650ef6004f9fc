use burn::module::Module;
use burn::tensor::*;
use std::time::Instant;
use thermograd::*;
fn main() {
    let topo = Topology::all_to_all([
        Group::clamped("input", 784),
        Group::free("hidden", 64),
        Group::free("output", 10),
    ]);
    let dev = Device::flex();
    let s = SubstrateConfig::new(topo).init(&dev).unwrap().randomised(1.0, Key::new(1));
    let k = Key::new(2);
    let t = Instant::now();
    for i in 0..200 {
        std::hint::black_box(k.normals(i, 256, 74));
    }
    println!(
        "noise {:?} = {:.2} ns/normal",
        t.elapsed(),
        t.elapsed().as_nanos() as f64 / (200. * 256. * 74.)
    );
    let sched = Schedule::new(1e-3, 0.2).unwrap();
    for size in [32, 64, 128, 256] {
        for threads in [1, 2] {
            let sh = Shards { size, threads };
            let field = Tensor::<2>::from_data(TensorData::new(k.normals(0, 256, 74), [256, 74]), &dev);
            let mut best = 1e9f64;
            let mut bestg = 1e9f64;
            for _ in 0..10 {
                let t = Instant::now();
                sh.map(256, |r| {
                    s.forward(
                        Tensor::zeros([r.len(), 74], &dev),
                        field.clone().slice_dim(0, r.clone()),
                        sched,
                        k.skip(r.start as u64),
                    )
                });
                best = best.min(t.elapsed().as_secs_f64());
                let t = Instant::now();
                sh.map(256, |r| {
                    let m = s.clone().train();
                    let l = m
                        .forward(
                            Tensor::zeros([r.len(), 74], &dev),
                            field.clone().slice_dim(0, r.clone()),
                            sched,
                            k.skip(r.start as u64),
                        )
                        .sum();
                    let g = l.backward();
                    g
                });
                bestg = bestg.min(t.elapsed().as_secs_f64());
            }
            println!(
                "size {size} threads {threads}: forward {:.2} ms, forward+backward {:.2} ms",
                best * 1e3,
                bestg * 1e3
            );
        }
    }
    // gemm only
    let x = Tensor::<2>::ones([128, 74], &dev);
    let a = Tensor::<2>::ones([74, 74], &dev) * 0.0;
    let t = Instant::now();
    for _ in 0..2000 {
        std::hint::black_box(x.clone().matmul(a.clone()));
    }
    println!("matmul 128x74x74 {:?}", t.elapsed() / 2000);
    let t = Instant::now();
    for _ in 0..2000 {
        std::hint::black_box(x.clone() * x.clone());
    }
    println!("mul {:?}", t.elapsed() / 2000);
    let r = Tensor::<2>::ones([1, 74], &dev);
    let t = Instant::now();
    for _ in 0..2000 {
        std::hint::black_box(x.clone() * r.clone());
    }
    println!("mul bcast {:?}", t.elapsed() / 2000);
}
