//! Labelled images of one size.

/// One labelled image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Row-major values, one channel after the other.
    pub pixels: Vec<u8>,
    /// Its class.
    pub label: u8,
}

/// Labelled images of one size, in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Images {
    /// Values of a pixel: 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// All images, one after the other.
    pub pixels: Vec<u8>,
    /// Their classes.
    pub labels: Vec<u8>,
}

/// Images to train on and images to report on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    /// For training and selection.
    pub train: Images,
    /// For one final report.
    pub test: Images,
}

impl Images {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// One image with its class.
    ///
    /// # Panics
    /// When `index` is out of range.
    pub fn get(&self, index: usize) -> Image {
        Image { pixels: self.pixels_of(index).to_vec(), label: self.labels[index] }
    }

    /// Values of one image.
    pub fn size(&self) -> usize {
        self.channels * self.width * self.height
    }

    /// The values of one image.
    pub fn pixels_of(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.size()..][..self.size()]
    }

    /// The first `count` images, or all.
    pub fn first(&self, count: usize) -> Self {
        self.part(0..count.min(self.len()))
    }

    /// Cuts the images in two: all but the last `count`, and the last `count`.
    pub fn hold_out(&self, count: usize) -> (Self, Self) {
        let cut = self.len().saturating_sub(count);
        (self.part(0..cut), self.part(cut..self.len()))
    }

    fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self {
            pixels: self.pixels[range.start * self.size()..range.end * self.size()].to_vec(),
            labels: self.labels[range].to_vec(),
            ..*self
        }
    }
}

#[cfg(feature = "download")]
impl burn_dataset::Dataset<Image> for Images {
    fn get(&self, index: usize) -> Result<Image, burn_dataset::DatasetError> {
        Ok(Self::get(self, index))
    }

    fn len(&self) -> usize {
        Self::len(self)
    }
}
