//! Backends by name: turns the value of `--backend` into a device, or into an error that says what to type instead.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where tensors live.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Burn's CPU backend; always built in.
    #[default]
    Flex,
    /// The older CPU backend, on the ndarray crate.
    NdArray,
    /// Vulkan, Metal, DirectX 12 or WebGPU.
    Wgpu,
    /// NVIDIA GPUs.
    Cuda,
}

impl Backend {
    /// Every backend there is, built in or not.
    pub const ALL: [Self; 4] = [Self::Flex, Self::NdArray, Self::Wgpu, Self::Cuda];

    /// The name on command lines, which is also the Cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }

    /// Whether this build has it.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Flex => true,
            Self::NdArray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Whether work runs on the processor's own cores, so that splitting a batch over threads pays.
    pub fn is_cpu(self) -> bool {
        matches!(self, Self::Flex | Self::NdArray)
    }

    /// Its first device, without autodiff.
    ///
    /// # Errors
    /// [`Error::NotBuiltIn`] and [`Error::NoAdapter`].
    pub fn device(self) -> Result<Device> {
        match self {
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            Self::NdArray => Ok(ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => wgpu(),
            #[cfg(feature = "cuda")]
            Self::Cuda => cuda(),
            #[allow(unreachable_patterns)]
            absent => Err(Error::NotBuiltIn { backend: absent.name() }),
        }
    }
}

/// Deprecated upstream in favour of flex; kept here as an independent check of every number.
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
fn ndarray() -> Device {
    Device::ndarray()
}

/// Initialising an adapter twice is an error, so the result of the first call is kept.
#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device> {
    use std::sync::OnceLock;
    static DEVICE: OnceLock<std::result::Result<Device, String>> = OnceLock::new();
    let device = DEVICE.get_or_init(|| Device::wgpu_options().init().map_err(|error| error.to_string()));
    device.clone().map_err(|reason| Error::NoAdapter {
        backend: "wgpu",
        reason,
        advice: "install a Vulkan driver (Debian, in software: apt install mesa-vulkan-drivers libvulkan1) or type \
                 --backend flex",
    })
}

/// The driver reports a failure only when it is first used, and does so with a panic.
#[cfg(feature = "cuda")]
fn cuda() -> Result<Device> {
    let device = Device::cuda(0);
    let probe = device.clone();
    let works = std::panic::catch_unwind(move || {
        burn::tensor::Tensor::<1>::zeros([1], &probe).into_data();
    });
    works.map(|()| device).map_err(|panic| Error::NoAdapter {
        backend: "cuda",
        reason: panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "the driver did not start".into()),
        advice: "install the NVIDIA driver and the CUDA toolkit or type --backend flex",
    })
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|backend| backend.name() == name);
        found.ok_or_else(|| format!("no backend `{name}`; the backends are flex, ndarray, wgpu and cuda"))
    }
}
