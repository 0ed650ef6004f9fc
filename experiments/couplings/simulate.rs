pub fn simulate(_: &crate::arguments::Simulate) -> anyhow::Result<()> {
    Ok(())
}
