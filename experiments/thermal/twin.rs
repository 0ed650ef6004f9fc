//! A twin of a house.
use crate::arguments::TwinFlags;
use anyhow::Result;
pub fn fit(_flags: &TwinFlags) -> Result<()> {
    Ok(())
}
