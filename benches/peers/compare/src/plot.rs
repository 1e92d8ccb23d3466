//! Bar charts as SVG: how many times dunlin's figure each server takes, a group of bars per case.
//!
//! The axis is logarithmic, because peers are between a third and a thousand times dunlin: equal steps are equal
//! ratios. Bars begin at dunlin's line; who takes less lies to its left. Colours are readable on light and on dark
//! ground.

use std::fmt::Write;

/// Groups of bars: the name of a case, and each server's ratio.
pub struct Chart {
    pub title: String,
    pub groups: Vec<(String, Vec<(&'static str, f64)>)>,
}

const WIDTH: f64 = 860.0;
/// Where the bars begin and end; names stand to the left, figures to the right.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 790.0;
const TOP: f64 = 64.0;
const BAR: f64 = 13.0;
const STEP: f64 = 18.0;
const GROUP_HEAD: f64 = 26.0;
const GROUP_GAP: f64 = 12.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}.t{font-size:15px;font-weight:600}\
.g{font-weight:600}.f,.a{fill:#59636e}.a{font-size:11px}.l{stroke:#d1d9e0}.o{stroke:#1f2328}\
.d{fill:#0969da}.r{fill:#818b98}.p{fill:#bf8700}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.f,.a{fill:#9198a1}.l{stroke:#3d444d}.o{stroke:#f0f6fc}\
.d{fill:#4493f8}.r{fill:#656c76}.p{fill:#d29922}}";

impl Chart {
    pub fn svg(&self) -> String {
        let ratios = || {
            let bars = self.groups.iter().flat_map(|(_, bars)| bars);
            bars.map(|(_, ratio)| *ratio)
        };
        let least = ratios().fold(1.0, f64::min).log2().floor() - 0.5;
        let most = ratios().fold(2.0, f64::max).log2().ceil();
        let x = |ratio: f64| LEFT + (ratio.log2() - least) / (most - least) * (RIGHT - LEFT);
        let bars: usize = self.groups.iter().map(|(_, bars)| bars.len()).sum();
        let groups = self.groups.len() as f64;
        let bottom = TOP + bars as f64 * STEP + groups * (GROUP_HEAD + GROUP_GAP);
        let height = bottom + 12.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-label=\"{title}\">\n<style>{STYLE}</style>\n<text class=\"t\" x=\"16\" y=\"26\">{title}</text>\n",
            title = self.title,
        );
        let mut power = least.ceil();
        let step = ((most - least) / 8.0).ceil();
        while power <= most {
            let at = x(power.exp2());
            let class = if power == 0.0 { "o" } else { "l" };
            let name = if power < 0.0 {
                format!("1/{}", (-power).exp2())
            } else {
                format!("{}", power.exp2())
            };
            _ = writeln!(
                svg,
                "<line class=\"{class}\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"a\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}×</text>",
                TOP - 8.0
            );
            // The line of 1 is always there.
            power = if power < 0.0 {
                (power + step).min(0.0)
            } else {
                power + step
            };
        }
        let mut y = TOP;
        for (title, bars) in &self.groups {
            y += GROUP_HEAD;
            _ = writeln!(
                svg,
                "<text class=\"g\" x=\"16\" y=\"{:.1}\">{title}</text>",
                y - 8.0
            );
            for (name, ratio) in bars {
                // From the line of 1: to the left takes less, to the right more.
                let (one, end) = (x(1.0), x(*ratio));
                let (from, to) = (one.min(end) - 1.0, one.max(end) + 1.0);
                let class = match *name {
                    "dunlin" => "d",
                    "raw" => "r",
                    _ => "p",
                };
                let middle = y + BAR - 3.0;
                _ = writeln!(
                    svg,
                    "<text class=\"f\" x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{name}</text>\
                     <rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\
                     <text class=\"f\" x=\"{:.1}\" y=\"{middle:.1}\">{}</text>",
                    LEFT - 8.0,
                    to - from,
                    to + 6.0,
                    figure(*ratio)
                );
                y += STEP;
            }
            y += GROUP_GAP;
        }
        svg + "</svg>\n"
    }
}

fn figure(ratio: f64) -> String {
    if ratio >= 10.0 {
        format!("{ratio:.0}")
    } else {
        format!("{ratio:.2}")
    }
}
