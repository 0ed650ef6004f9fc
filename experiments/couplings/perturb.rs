pub fn perturb(_: &crate::arguments::Perturb) -> anyhow::Result<std::ops::ControlFlow<()>> {
    unimplemented!()
}
