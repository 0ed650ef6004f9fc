//! One self-contained HTML page: text, tables, figures.

use std::fmt::Write;

/// A page in the making.
pub struct Report {
    body: String,
    title: String,
}

impl Report {
    /// A page with a heading.
    pub fn new(title: &str) -> Self {
        Self { body: format!("<h1>{}</h1>\n", escape(title)), title: escape(title) }
    }

    /// A section with its heading.
    pub fn section(&mut self, heading: &str) -> &mut Self {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(heading));
        self
    }

    /// A paragraph of plain text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
        self
    }

    /// Markup as it is: SVG, or the output of the other helpers.
    pub fn markup(&mut self, markup: &str) -> &mut Self {
        self.body.push_str(markup);
        self.body.push('\n');
        self
    }

    /// A table of two columns.
    pub fn facts(&mut self, rows: &[(&str, String)]) -> &mut Self {
        self.body.push_str("<table class=\"facts\">");
        for (name, value) in rows {
            let _ = write!(self.body, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
        }
        self.body.push_str("</table>\n");
        self
    }

    /// A picture with a caption; `zoom` screen pixels a pixel.
    pub fn picture(&mut self, uri: &str, width: usize, zoom: usize, caption: &str) -> &mut Self {
        let _ = writeln!(
            self.body,
            "<figure><img src=\"{uri}\" width=\"{}\" alt=\"{1}\"><figcaption>{1}</figcaption></figure>",
            width * zoom,
            escape(caption)
        );
        self
    }

    /// A matrix of counts, `[row][column]`, the diagonal in blue and what is off it in red.
    pub fn confusion(&mut self, counts: &[Vec<usize>]) -> &mut Self {
        self.body.push_str("<table class=\"confusion\"><tr><th></th>");
        for guess in 0..counts.len() {
            let _ = write!(self.body, "<th>{guess}</th>");
        }
        self.body.push_str("</tr>");
        for (class, row) in counts.iter().enumerate() {
            let _ = write!(self.body, "<tr><th>{class}</th>");
            let total = row.iter().sum::<usize>().max(1) as f64;
            for (guess, &count) in row.iter().enumerate() {
                let part = count as f64 / total;
                let shade = if class == guess {
                    format!("rgba(0,114,178,{:.3})", 0.55 * part)
                } else {
                    format!("rgba(213,94,0,{:.3})", (12.0 * part).min(0.85))
                };
                let _ = write!(
                    self.body,
                    "<td style=\"background:{shade}\" title=\"{class} read as {guess}: {:.2} %\">{count}</td>",
                    100.0 * part
                );
            }
            self.body.push_str("</tr>");
        }
        self.body.push_str("</table>\n");
        self
    }

    /// The whole page.
    pub fn html(&self) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n<style>{STYLE}</style>\
             </head>\n<body><main>\n{}</main></body></html>\n",
            self.title, self.body
        )
    }
}

const STYLE: &str = "
body{margin:0;background:#f4f4f2;color:#1d1d1f;font:15px/1.5 system-ui,sans-serif}
main{max-width:1200px;margin:0 auto;padding:24px 28px 60px;background:#fff}
h1{font-size:26px;margin:8px 0 4px}h2{font-size:19px;margin:34px 0 6px;border-bottom:1px solid #ddd}
p{max-width:75ch;margin:8px 0}figure{margin:10px 0}figcaption{font-size:13px;color:#555;max-width:80ch}
pre{white-space:pre-wrap}
img{image-rendering:pixelated;border:1px solid #ddd}svg{max-width:100%;height:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.facts th{text-align:left;white-space:nowrap;vertical-align:top;font-weight:500;color:#444;padding:2px 24px 2px 0}.facts td{padding:2px 0}
.confusion td,.confusion th{width:56px;padding:4px 6px;text-align:right;border:1px solid #eee}
.row{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:10px;margin:10px 0}.right,.wrong{grid-template-columns:repeat(4,minmax(0,1fr))}.three{grid-template-columns:repeat(3,minmax(0,1fr))}.facts td{padding:2px 18px 2px 0}.card{border:1px solid #e2e2e2;padding:6px;border-radius:4px}
.card b{font-weight:600}.wrong b{color:#c0392b}.right b{color:#19714a}.card img{vertical-align:top}
";

/// Text with the characters that mean something to a browser written out.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
