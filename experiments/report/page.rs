//! A self-contained HTML page of text, tables and figures. Text is escaped.

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::figures::{Picture, uri};

/// The whole page.
pub fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { h1 { (title) } (body) } }
        }
    };
    page.into_string() + "\n"
}

/// A table of two columns.
pub fn facts(rows: &[(impl AsRef<str>, impl AsRef<str>)]) -> Markup {
    html! {
        table class="facts" {
            @for (name, value) in rows { tr { th { (name.as_ref()) } td { (value.as_ref()) } } }
        }
    }
}

/// Charts side by side, of class `row`, or `row three`.
pub fn row(class: &str, charts: &[String]) -> Markup {
    html! { div class=(class) { @for chart in charts { (PreEscaped(chart)) } } }
}

/// A picture with a caption, with `zoom` screen pixels per pixel.
pub fn figure(picture: &Picture, zoom: usize, caption: &str) -> Result<Markup> {
    Ok(image(&picture.png()?, picture.width * zoom, caption))
}

/// A PNG file as a figure of the given width, with a caption.
pub fn image(png: &[u8], width: usize, caption: &str) -> Markup {
    html! { figure { img src=(uri(png)) width=(width) alt=(caption); figcaption { (caption) } } }
}

/// A matrix of counts, `[row][column]`, with the diagonal in blue and the rest in red.
pub fn confusion(counts: &[Vec<usize>]) -> Markup {
    let cell = |class: usize, guess: usize, fraction: f64| match class == guess {
        true => format!("background:rgba(0,114,178,{:.3})", 0.55 * fraction),
        false => format!("background:rgba(213,94,0,{:.3})", (12.0 * fraction).min(0.85)),
    };
    html! {
        table class="confusion" {
            tr { th {} @for guess in 0..counts.len() { th { (guess) } } }
            @for (class, row) in counts.iter().enumerate() {
                tr {
                    th { (class) }
                    @let total = row.iter().sum::<usize>().max(1) as f64;
                    @for (guess, &count) in row.iter().enumerate() {
                        @let fraction = count as f64 / total;
                        td style=(cell(class, guess, fraction))
                            title=(format!("{class} read as {guess}: {:.2} %", 100.0 * fraction)) { (count) }
                    }
                }
            }
        }
    }
}

const STYLE: &str = "
:root{color-scheme:light dark;--ground:#f4f4f2;--page:#fff;--text:#1d1d1f;--quiet:#555;--line:#ddd;--good:#19714a;--bad:#c0392b}
@media (prefers-color-scheme:dark){:root{--ground:#101113;--page:#191a1d;--text:#e8e8ea;--quiet:#a5a7ad;--line:#3a3c42;--good:#6cc39a;--bad:#f08a7c}
svg{filter:invert(1) hue-rotate(180deg)}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:1200px;margin:0 auto;padding:24px clamp(12px,3vw,28px) 60px;background:var(--page)}
h1{font-size:26px;line-height:1.25;margin:8px 0 4px}h2{font-size:19px;margin:34px 0 6px;border-bottom:1px solid var(--line)}
p{max-width:75ch;margin:8px 0}figure{margin:10px 0}figcaption{font-size:13px;color:var(--quiet);max-width:80ch}
pre{white-space:pre-wrap}
img{image-rendering:pixelated;border:1px solid var(--line);max-width:100%;height:auto}svg{max-width:100%;height:auto}
table{border-collapse:collapse;margin:10px 0;font-variant-numeric:tabular-nums;display:block;overflow-x:auto;overflow-wrap:normal}
td,th{padding:2px 18px 2px 0;text-align:left}
.facts th{text-align:left;vertical-align:top;font-weight:500;color:var(--quiet);padding:2px 18px 2px 0}.facts td{padding:2px 18px 2px 0}
.confusion td,.confusion th{min-width:44px;padding:4px 6px;text-align:right;border:1px solid var(--line)}
.row{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:10px;margin:10px 0}
.three{grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr))}.right,.wrong{grid-template-columns:repeat(auto-fit,minmax(min(100%,250px),1fr))}
.card{border:1px solid var(--line);padding:6px;border-radius:4px}
.card b{font-weight:600}.wrong b{color:var(--bad)}.right b{color:var(--good)}.card img{vertical-align:top}
";
