//! Quality of generated images: metrics from the judge, next to those of real images, class means and noise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use etcetera::BaseStrategy;
use rand::RngExt;
use serde::Serialize;
use thermograd::{Estimate, Key, Shards, ranks};
use thermograd_experiments::workbench::{Data, Session, output, run};
use thermograd_models::generator::judge::CODE;
use thermograd_models::generator::noising::level;
use thermograd_models::{Denoised, Examples, Fit, Judge, Parameters, Reference, Scores};

use crate::settings::{Mode, Settings};
use crate::{CLASSES, Drawn, Gallery, Model, Setup};

/// Row-major images and the class of each.
type Known = (Vec<f32>, Vec<usize>);

/// evaluation.json: everything that was measured.
#[derive(Serialize)]
pub struct Evaluation {
    /// The images with which generated ones are compared.
    pub reference: String,
    /// Accuracy of the judge on images it was not trained on.
    pub judge_accuracy: f64,
    /// By read-out.
    pub generated: BTreeMap<String, Scores>,
    /// Images that the judge reads as another class, by read-out.
    pub misread: BTreeMap<String, Vec<Misread>>,
    /// At all label strengths that images were drawn at, if there are several, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strengths: Vec<AtStrength>,
    /// The same metrics for real images, class means, means of two images and noise.
    pub calibration: BTreeMap<String, Scores>,
    /// Heat given to the bath, in units of kT.
    pub heat_kt: Option<Estimate>,
    /// Work done by the protocol, in units of kT.
    pub work_kt: Option<Estimate>,
    /// What is left to know along the run of a computer that draws classes.
    pub denoising: Option<Vec<Denoised>>,
    /// Multiply–accumulates per image of the conventional network.
    pub digital_macs: Option<f64>,
}

/// An image that the judge reads as another class than it should.
#[derive(Serialize)]
pub struct Misread {
    /// Its place among all images.
    pub image: usize,
    /// The class that was requested, or that of the stored image that it is most like.
    pub asked: usize,
    /// What the judge reads.
    pub read: usize,
}

/// Images drawn at one label strength.
#[derive(Serialize)]
pub struct AtStrength {
    /// The value of the clamped label unit.
    pub strength: f64,
    /// Heat given to the bath, in units of kT.
    pub heat_kt: Option<Estimate>,
    /// By read-out.
    pub generated: BTreeMap<String, Scores>,
}

impl Setup {
    /// The images with which generated ones are compared.
    fn real(&self) -> &Examples {
        let data = &self.bench.data;
        if self.settings.against_held_out { &data.held_out } else { &data.test }
    }

    fn untrained_judge(&self) -> Judge {
        let train = &self.bench.data.train;
        let height = train.pixels_each() / train.width();
        // One judge for all seeds, so that its metrics of different runs are comparable.
        let key = Key::new(0);
        Judge::new(train.width(), height, CLASSES, key, &self.bench.device)
    }

    /// The judge in the file, if there is one.
    ///
    /// # Errors
    /// A file that is not a judge of these images.
    pub fn cached_judge(&self) -> Result<Option<Judge>> {
        let shown = self.judge_file.display();
        let read = || match self.judge_file.is_file() {
            true => run::read(&self.judge_file).map(Some).map_err(|error| format!("{error:#}")),
            false => Ok(None),
        };
        let Some(bytes) = ranks::of_first(read)?.map_err(anyhow::Error::msg)? else { return Ok(None) };
        let (network, of) =
            bytes.split_last_chunk::<8>().with_context(|| format!("{shown} is not a judge"))?;
        ensure!(
            *of == judge_hash(&self.settings, &self.bench.data).to_le_bytes(),
            "{shown} is not a judge of these images by this recipe; choose another --judge"
        );
        self.untrained_judge().decode(network).map(Some).with_context(|| format!("in {shown}"))
    }

    /// The judge, which is trained if none is cached for these images.
    pub fn judge(&self, session: &Session) -> Result<Judge> {
        if let Some(judge) = self.cached_judge()? {
            return Ok(judge);
        }
        let (untrained, train, key) = (self.untrained_judge(), &self.bench.data.train, Key::new(0));
        let hash = judge_hash(&self.settings, &self.bench.data).to_le_bytes();
        let shards = Shards { size: self.bench.shards.size.div_ceil(2), ..self.bench.shards };
        let judge =
            session.train_aside(Fit::new(self.settings.judge.training(train), untrained, shards, key))?;
        // If the cache cannot be written, the next run trains the judge again, but this one can go on.
        if let Err(error) = run::write(&self.judge_file, &[&judge.encode()?[..], &hash].concat()) {
            output::aside(format_args!("the judge is not cached: {error:#}"));
        }
        Ok(judge)
    }

    /// Computes all metrics of generated images.
    pub fn evaluation(
        &self,
        model: &Model,
        judge: Judge,
        gallery: &Gallery,
        others: &[(f64, Gallery)],
    ) -> Result<Evaluation> {
        let (s, data, shards) = (&self.settings, &self.bench.data, self.bench.shards);
        let held_out: Vec<usize> = (0..data.held_out.len()).collect();
        let read = judge.opinion_of(&data.held_out, &held_out, shards).classes;
        let right = read.iter().zip(&held_out).filter(|(read, index)| **read == data.held_out.label(**index));
        let judge_accuracy = right.count() as f64 / held_out.len() as f64;
        let reference = Reference::new(judge, self.real(), shards);
        let kept = (s.mode == Mode::Stored).then(|| self.candidates()).transpose()?;
        let scores = |(name, (images, labels)): (&str, (&[f32], &[usize]))| {
            Ok((name.to_owned(), reference.scores(images, labels, kept.as_ref())?))
        };
        let generated = |gallery: &Gallery| -> Result<BTreeMap<_, _>> {
            let drawn = gallery.drawn.iter();
            drawn.map(|(name, drawn)| scores((*name, (&drawn.images[..], &drawn.labels[..])))).collect()
        };
        let misread = |drawn: &Drawn| -> Vec<Misread> {
            let read = reference.judge().opinion(&drawn.images, data.train.pixels_each(), shards).classes;
            let all = read.into_iter().zip(&drawn.labels).enumerate();
            let all = all.map(|(image, (read, &asked))| Misread { image, asked, read });
            all.filter(|one| one.read != one.asked).collect()
        };
        let misread = gallery.drawn.iter().map(|(name, drawn)| ((*name).to_owned(), misread(drawn)));
        let calibration = self.calibration()?;
        let known = calibration.iter().map(|(name, (images, labels))| (*name, (&images[..], &labels[..])));
        let estimate = |values: &[f64]| (!values.is_empty()).then(|| Estimate::of(values));
        let at = |strength: f64, gallery: &Gallery| -> Result<AtStrength> {
            Ok(AtStrength { strength, heat_kt: estimate(&gallery.heat), generated: generated(gallery)? })
        };
        let mut strengths =
            others.iter().map(|(strength, gallery)| at(*strength, gallery)).collect::<Result<Vec<_>>>()?;
        if !strengths.is_empty() {
            strengths.push(at(s.label_strength, gallery)?);
            strengths.sort_by(|a, b| a.strength.total_cmp(&b.strength));
        }
        let which = if s.against_held_out { "held-out training" } else { "test" };
        Ok(Evaluation {
            reference: format!("{} {which} images", self.real().len()),
            judge_accuracy,
            generated: generated(gallery)?,
            misread: misread.collect(),
            strengths,
            calibration: known.map(scores).collect::<Result<_>>()?,
            heat_kt: estimate(&gallery.heat),
            work_kt: estimate(&gallery.work),
            denoising: self.denoising(model)?,
            digital_macs: match model {
                Model::Network(network) => {
                    let looks = if s.guidance == 1.0 { 1.0 } else { 2.0 };
                    Some(network.macs() * looks * (s.diffusion.steps + 1) as f64)
                }
                Model::Computer(_) => None,
            },
        })
    }

    /// How well a computer that draws classes denoises held-out images along its run.
    fn denoising(&self, model: &Model) -> Result<Option<Vec<Denoised>>> {
        /// Images and times.
        const LOOKED_AT: (usize, usize) = (1000, 25);
        let (Mode::Classes, Model::Computer(generator)) = (self.settings.mode, model) else {
            return Ok(None);
        };
        let (some, key) = (self.bench.data.held_out.first(LOOKED_AT.0), self.bench.key.fork("denoising"));
        Ok(Some(generator.denoising(&some, LOOKED_AT.1, self.bench.shards, key)?))
    }

    /// An equal number of real images, class means, means of two images and noise, whose metrics put those of
    /// generated images into perspective.
    fn calibration(&self) -> Result<BTreeMap<&'static str, Known>> {
        let (n, data) = (self.settings.count(), &self.bench.data);
        let train = &data.train;
        // Real images other than those of the reference.
        let other = if self.settings.against_held_out { &data.test } else { &data.held_out };
        let pixels = train.pixels_each();
        let level = |p: &u8| level(*p) as f32;
        let real = |index: usize| index % other.len();
        let images = (0..n).flat_map(|index| other.pixels(real(index))).map(level).collect();
        let labels = (0..n).map(|index| other.label(real(index))).collect();
        let mut sums = vec![(0.0_f32, vec![0.0_f32; pixels]); CLASSES];
        for index in 0..train.len() {
            let (count, sum) = &mut sums[train.label(index)];
            *count += 1.0;
            sum.iter_mut().zip(train.pixels(index)).for_each(|(sum, p)| *sum += level(p));
        }
        let mean = |class: usize| {
            let (count, sum) = &sums[class];
            sum.iter().map(move |sum| sum / count.max(1.0))
        };
        let asked: Vec<usize> = (0..n).map(|k| k % CLASSES).collect();
        let means = asked.iter().flat_map(|&class| mean(class)).collect();
        let mut rng = self.bench.key.fork("uniform noise").rng();
        let noise = (0..n * pixels).map(|_| rng.random_range(-1.0..=1.0)).collect();
        // Means of any two stored images (or training images), with the class of the first as the requested class.
        let (candidates, mut rng) = (self.candidates()?, self.bench.key.fork("means of two").rng());
        let (mut both, mut first) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let count = candidates.len();
            let a = rng.random_range(0..count);
            let b = (a + rng.random_range(1..count.max(2))) % count;
            let pixels = candidates.pixels(a).iter().zip(candidates.pixels(b));
            both.extend(pixels.map(|(a, b)| 0.5 * (level(a) + level(b))));
            first.push(candidates.label(a));
        }
        Ok(BTreeMap::from([
            ("real images", (images, labels)),
            ("class means", (means, asked.clone())),
            ("means of two", (both, first)),
            ("uniform noise", (noise, asked)),
        ]))
    }
}

/// What tells judges apart: it differs if the images, the recipe or the code of the judge differ.
fn judge_hash(settings: &Settings, data: &Data) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    mix(&data.fingerprint().to_le_bytes());
    mix(format!("{:?}", settings.judge).as_bytes());
    CODE.iter().for_each(|code| mix(code.as_bytes()));
    Key::new(0).normals(0, 1, 4).iter().for_each(|normal| mix(&normal.to_le_bytes()));
    hash
}

/// Where a judge is cached: in the user's cache folder.
pub fn judge_file(settings: &Settings, data: &Data) -> PathBuf {
    let cache = etcetera::choose_base_strategy().map(|user| user.cache_dir());
    let folder = cache.unwrap_or_else(|_| std::env::temp_dir()).join("thermograd");
    folder.join(format!("judge-{:016x}.bpk", judge_hash(settings, data)))
}
