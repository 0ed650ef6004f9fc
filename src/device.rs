//! Backends by name: turns the values of `--backend` and `--device` into a device, or into an error that says what to
//! type instead.

use std::fmt;
use std::panic::catch_unwind;
use std::str::FromStr;

use burn::tensor::{Device, Tensor};
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
    /// Any GPU, through WebGPU.
    Wgpu,
    /// Any GPU with a Vulkan driver; kernels are compiled to SPIR-V.
    Vulkan,
    /// GPUs of Apple.
    Metal,
    /// GPUs of NVIDIA.
    Cuda,
}

impl Backend {
    /// Every backend there is, built in or not.
    pub const ALL: [Self; 6] = [Self::Flex, Self::NdArray, Self::Wgpu, Self::Vulkan, Self::Metal, Self::Cuda];

    /// The name on command lines, which is also the Cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
        }
    }

    /// Whether this build has it.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Flex => true,
            Self::NdArray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Whether work runs on the processor's own cores, so that splitting a batch over threads pays.
    pub fn is_cpu(self) -> bool {
        matches!(self, Self::Flex | Self::NdArray)
    }

    /// What it needs to be built, beyond its feature.
    pub fn build_needs(self) -> &'static str {
        match self {
            Self::Metal => " (on a Mac)",
            Self::Cuda => " (its build downloads LLVM, and has not been tried by us)",
            _ => "",
        }
    }

    /// What it needs to find a device.
    fn advice(self) -> &'static str {
        match self {
            Self::Flex | Self::NdArray => "it needs nothing",
            Self::Wgpu => {
                "install a Vulkan driver (Debian, in software: apt install mesa-vulkan-drivers libvulkan1) or type \
                 --backend flex"
            }
            Self::Vulkan => {
                "install the Vulkan driver of the GPU, or type --backend flex (Mesa's driver in software crashes on these \
                 kernels; --backend wgpu runs on it)"
            }
            Self::Metal => "it needs a Mac; or type --backend flex",
            Self::Cuda => "install the NVIDIA driver and the CUDA toolkit or type --backend flex",
        }
    }

    /// Its first device, without autodiff.
    ///
    /// # Errors
    /// Those of [`numbered`](Self::numbered).
    pub fn device(self) -> Result<Device> {
        self.numbered(0)
    }

    /// Its device of a given number, in the order of [`names`](Self::names), without autodiff.
    ///
    /// # Errors
    /// [`Error::NotBuiltIn`], [`Error::NoAdapter`] when it finds no device or the driver does not start, and
    /// [`Error::NoDevice`].
    pub fn numbered(self, number: usize) -> Result<Device> {
        let found = self.devices()?;
        let Some(device) = found.get(number).cloned() else {
            let found = found.len();
            return Err(Error::NoDevice { backend: self.name(), number, found });
        };
        if self.is_cpu() {
            return Ok(device);
        }
        // A driver reports a failure when it is first used, and does so with a panic.
        let probe = device.clone();
        let works = catch_unwind(move || drop(Tensor::<1>::zeros([1], &probe).into_data()));
        works.map(|()| device).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            self.no_adapter(
                text.or_else(|| panic.downcast_ref().copied()).unwrap_or("the driver did not start"),
            )
        })
    }

    /// The names of its devices, in the order of their numbers.
    ///
    /// # Errors
    /// [`Error::NotBuiltIn`], and [`Error::NoAdapter`] when it finds no device.
    pub fn names(self) -> Result<Vec<String>> {
        self.devices()?.into_iter().map(|device| Ok(self.name_of(&device))).collect()
    }

    #[cfg(feature = "cube")]
    fn name_of(self, device: &Device) -> String {
        let device = device.clone();
        let identity = catch_unwind(move || device.identity().map(|identity| identity.name));
        identity.ok().flatten().unwrap_or_else(|| "this processor".into())
    }

    #[cfg(not(feature = "cube"))]
    fn name_of(self, _device: &Device) -> String {
        "this processor".into()
    }

    /// What it finds on this machine, at least one device.
    fn devices(self) -> Result<Vec<Device>> {
        #[cfg(feature = "cube")]
        use burn::tensor::DeviceType;
        let found = match self {
            Self::Flex => vec![Device::flex()],
            #[cfg(feature = "ndarray")]
            Self::NdArray => vec![ndarray()],
            #[cfg(feature = "wgpu")]
            Self::Wgpu => enumerate(DeviceType::Wgpu),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => enumerate(DeviceType::Vulkan),
            #[cfg(feature = "metal")]
            Self::Metal => enumerate(DeviceType::Metal),
            #[cfg(feature = "cuda")]
            Self::Cuda => enumerate(DeviceType::Cuda),
            #[allow(unreachable_patterns)]
            absent => return Err(Error::NotBuiltIn { backend: absent.name(), needs: absent.build_needs() }),
        };
        match found.is_empty() {
            true => Err(self.no_adapter("no device found")),
            false => Ok(found),
        }
    }

    fn no_adapter(self, reason: &str) -> Error {
        Error::NoAdapter { backend: self.name(), reason: reason.into(), advice: self.advice() }
    }
}

/// Deprecated upstream in favour of flex; kept here as an independent check of every number.
#[cfg(feature = "ndarray")]
#[allow(deprecated)]
fn ndarray() -> Device {
    Device::ndarray()
}

/// The devices of a kind; none where the driver's library is missing.
#[cfg(feature = "cube")]
fn enumerate(kind: burn::tensor::DeviceType) -> Vec<Device> {
    catch_unwind(|| Device::enumerate(kind).into_iter().collect()).unwrap_or_default()
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
        let names = Self::ALL.map(Self::name).join(", ");
        found.ok_or_else(|| format!("no backend `{name}`; the backends are {names}"))
    }
}
