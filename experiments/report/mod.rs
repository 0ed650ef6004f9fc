//! Reports: HTML pages with tables, charts and pictures.
//!
//! | file | what |
//! |---|---|
//! | [`page`] | one self-contained HTML page |
//! | [`figures`] | charts as SVG, pictures as PNG |
//! | [`sections`] | sections of several pages: learning curves, coupling fields, settings |

pub mod figures;
pub mod page;
pub mod sections;

pub use figures::{COLOURS, Chart, Line, Picture, animation, grey, mosaic, tiles, uri};
pub use page::{confusion, document, facts, figure, image, row};
pub use sections::{counted, fields, learning, percent, pushes, settings, spread};
