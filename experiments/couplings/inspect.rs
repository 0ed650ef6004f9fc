use crate::arguments::*;
pub fn inspect(_: &Inspect) -> anyhow::Result<()> {
    Ok(())
}
pub fn diff(_: &Diff) -> anyhow::Result<bool> {
    Ok(true)
}
