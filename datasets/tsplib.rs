//! Travelling salesman problems and tours in the format of TSPLIB (G. Reinelt, ORSA J. Comput. 3, 376, 1991).
//!
//! | `EDGE_WEIGHT_TYPE` | distance |
//! |---|---|
//! | `EUC_2D` | √(Δx² + Δy²), rounded |
//! | `CEIL_2D` | the same, rounded up |
//! | `ATT` | √((Δx² + Δy²)/10), rounded up |
//! | `GEO` | kilometres on a sphere of radius 6378.388 km, of degrees and minutes written as DDD.MM |
//! | `EXPLICIT` | listed: `FULL_MATRIX`, `UPPER_ROW`, `LOWER_ROW`, `UPPER_DIAG_ROW`, `LOWER_DIAG_ROW`, and columns for rows |

use crate::text::{TextProblem, number, shown};

/// Cities, and the symmetric distances between them.
#[derive(Clone, PartialEq, Debug)]
pub struct Cities {
    /// The name of the problem.
    pub name: String,
    /// Where they are, if that is known.
    pub places: Option<Vec<[f64; 2]>>,
    /// `[city, city]`.
    pub distances: Vec<i64>,
}

/// Cities, at most: their distances take 200 MB.
const MOST: usize = 5000;

/// The longest distance: tours of as many cities stay far below 2^53.
const LONGEST: i64 = 1 << 38;

/// How distances are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Metric {
    Euclidean,
    Ceiling,
    Att,
    Geographical,
    Explicit,
}

/// Which entries of a matrix are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Layout {
    lower: bool,
    upper: bool,
    diagonal: bool,
}

/// What is read; fixed edges, depots and demands make other problems.
const SECTIONS: [&str; 4] =
    ["NODE_COORD_SECTION", "EDGE_WEIGHT_SECTION", "DISPLAY_DATA_SECTION", "TOUR_SECTION"];

/// Lines with their numbers.
type Lines<'a> = Vec<(usize, &'a str)>;

/// What a file says before its sections, and in them.
#[derive(Default)]
struct File<'a> {
    /// Keys with their lines and values.
    keys: Vec<(&'a str, usize, &'a str)>,
    /// Sections with their lines and those below.
    sections: Vec<(&'a str, usize, Lines<'a>)>,
}

impl<'a> File<'a> {
    fn of(text: &'a str) -> Result<Self, TextProblem> {
        let mut file = Self::default();
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            if line.is_empty() {
                continue;
            }
            if line == "EOF" {
                break;
            }
            let section = line.split(':').next().unwrap_or(line).trim();
            if section.ends_with("_SECTION") {
                if !SECTIONS.contains(&section) {
                    let reason = format!("{} is not read: {} are", shown(section), SECTIONS.join(", "));
                    return Err(TextProblem::line(number, reason));
                }
                if file.section(section).is_ok() {
                    return Err(TextProblem::line(number, format!("{section} is there again")));
                }
                file.sections.push((section, number, Vec::new()));
            } else if line.starts_with(|first: char| first.is_ascii_alphabetic()) && line.contains(':') {
                let (key, value) = line.split_once(':').unwrap_or((line, ""));
                let key = key.trim();
                if key != "COMMENT" && file.key(key).is_ok() {
                    return Err(TextProblem::line(number, format!("{} is there again", shown(key))));
                }
                file.keys.push((key, number, value.trim()));
            } else if let Some((_, _, lines)) = file.sections.last_mut() {
                lines.push((number, line));
            } else {
                return Err(TextProblem::line(number, format!("`{}` is no `KEY : value`", shown(line))));
            }
        }
        Ok(file)
    }

    fn key(&self, name: &str) -> Result<(usize, &'a str), TextProblem> {
        let found = self.keys.iter().find(|(key, _, _)| *key == name);
        found
            .map(|(_, line, value)| (*line, *value))
            .ok_or_else(|| TextProblem::Whole(format!("there is no {name}")))
    }

    fn section(&self, name: &str) -> Result<(usize, &Lines<'a>), TextProblem> {
        let found = self.sections.iter().find(|(section, _, _)| *section == name);
        found
            .map(|(_, line, lines)| (*line, lines))
            .ok_or_else(|| TextProblem::Whole(format!("there is no {name}")))
    }

    fn dimension(&self, least: usize) -> Result<usize, TextProblem> {
        let (line, value) = self.key("DIMENSION")?;
        let count: usize = number(value, line, "DIMENSION")?;
        match (least..=MOST).contains(&count) {
            true => Ok(count),
            false => Err(TextProblem::line(line, format!("{count} cities: {least} to {MOST} are possible"))),
        }
    }

    /// The coordinates of a section.
    fn places(&self, name: &str, count: usize) -> Result<Vec<[f64; 2]>, TextProblem> {
        let (start, lines) = self.section(name)?;
        let mut places = vec![None; count];
        for &(line, words) in lines {
            let words: Vec<&str> = words.split_whitespace().collect();
            let &[city, x, y] = &words[..] else {
                return Err(TextProblem::line(line, "a city is `number x y`"));
            };
            let city: usize = number(city, line, "the number of a city")?;
            let place: [f64; 2] = [number(x, line, "a coordinate")?, number(y, line, "a coordinate")?];
            if place.iter().any(|x| !x.is_finite()) {
                return Err(TextProblem::line(line, format!("city {city} is at {place:?}")));
            }
            match places.get_mut(city.wrapping_sub(1)) {
                Some(at @ None) => *at = Some(place),
                Some(_) => return Err(TextProblem::line(line, format!("city {city} is there again"))),
                None => {
                    return Err(TextProblem::line(line, format!("city {city}: they are 1 to {count}")));
                }
            }
        }
        let missing = places.iter().position(Option::is_none);
        match missing {
            None => Ok(places.into_iter().flatten().collect()),
            Some(city) => Err(TextProblem::line(
                start,
                format!("{} of {count} cities are in {name}; city {} is missing", lines.len(), city + 1),
            )),
        }
    }
}

impl Cities {
    /// How many.
    pub fn count(&self) -> usize {
        self.distances.len().isqrt()
    }

    /// Cities at places of a plane, with rounded distances.
    ///
    /// # Errors
    /// [`TextProblem`] for fewer than three cities, too many, and distances that are too long.
    pub fn on_plane(name: &str, places: Vec<[f64; 2]>) -> Result<Self, TextProblem> {
        let distances = measured(Metric::Euclidean, &places)?;
        Ok(Self { name: name.into(), places: Some(places), distances })
    }

    /// Reads a problem.
    ///
    /// # Errors
    /// [`TextProblem`], with the line where there is one: sections that are missing, not known, or there twice, keys that are missing or there twice, cities that are
    /// missing or there twice, distances that are none, negative, or not symmetric.
    pub fn decode(text: &str) -> Result<Self, TextProblem> {
        let file = File::of(text)?;
        if let Ok((line, kind)) = file.key("TYPE")
            && kind.split_whitespace().next() != Some("TSP")
        {
            return Err(TextProblem::line(line, format!("TYPE is `{}`, and TSP is read", shown(kind))));
        }
        let count = file.dimension(3)?;
        let (line, kind) = file.key("EDGE_WEIGHT_TYPE")?;
        let metric = match kind {
            "EUC_2D" => Metric::Euclidean,
            "CEIL_2D" => Metric::Ceiling,
            "ATT" => Metric::Att,
            "GEO" => Metric::Geographical,
            "EXPLICIT" => Metric::Explicit,
            _ => {
                return Err(TextProblem::line(
                    line,
                    format!(
                        "EDGE_WEIGHT_TYPE is `{}`: EUC_2D, CEIL_2D, ATT, GEO and EXPLICIT are read",
                        shown(kind)
                    ),
                ));
            }
        };
        if let Ok((line, kind)) = file.key("NODE_COORD_TYPE")
            && !["TWOD_COORDS", "NO_COORDS"].contains(&kind)
        {
            return Err(TextProblem::line(
                line,
                format!("NODE_COORD_TYPE is `{}`: two coordinates are read", shown(kind)),
            ));
        }
        let name = file.key("NAME").map_or("", |(_, name)| name).to_owned();
        if metric == Metric::Explicit {
            let distances = explicit(&file, count)?;
            let shown = file.section("DISPLAY_DATA_SECTION").is_ok();
            let places = shown.then(|| file.places("DISPLAY_DATA_SECTION", count)).transpose()?;
            return Ok(Self { name, places, distances });
        }
        let places = file.places("NODE_COORD_SECTION", count)?;
        let distances = measured(metric, &places)?;
        // Latitude is up.
        let turned = |&[x, y]: &[f64; 2]| if metric == Metric::Geographical { [y, x] } else { [x, y] };
        Ok(Self { name, places: Some(places.iter().map(turned).collect()), distances })
    }

    /// The distance of two cities.
    pub fn distance(&self, i: usize, j: usize) -> i64 {
        self.distances[i * self.count() + j]
    }

    /// The length of a closed tour.
    pub fn length(&self, tour: &[usize]) -> i64 {
        let next = tour.iter().skip(1).chain(tour.first());
        tour.iter().zip(next).map(|(&a, &b)| self.distance(a, b)).sum()
    }

    /// Reads a tour through so many cities: each is there once.
    ///
    /// # Errors
    /// [`TextProblem`] with the line of a city that is there twice or that there is not, and with those that are missing.
    pub fn decode_tour(text: &str, count: usize) -> Result<Vec<usize>, TextProblem> {
        let file = File::of(text)?;
        if let Ok((line, value)) = file.key("DIMENSION")
            && number::<usize>(value, line, "DIMENSION")? != count
        {
            return Err(TextProblem::line(
                line,
                format!("a tour of {} cities, and there are {count}", shown(value)),
            ));
        }
        let (start, lines) = file.section("TOUR_SECTION")?;
        let (mut tour, mut seen) = (Vec::new(), vec![false; count]);
        let words =
            lines.iter().flat_map(|&(line, words)| words.split_whitespace().map(move |word| (line, word)));
        for (line, word) in words {
            let city: i64 = number(word, line, "a city")?;
            if city == -1 {
                break;
            }
            let place = usize::try_from(city - 1)
                .ok()
                .filter(|&city| city < count)
                .ok_or_else(|| TextProblem::line(line, format!("city {city}: they are 1 to {count}")))?;
            if std::mem::replace(&mut seen[place], true) {
                return Err(TextProblem::line(line, format!("city {city} is visited twice")));
            }
            tour.push(place);
        }
        match seen.iter().position(|seen| !seen) {
            None => Ok(tour),
            Some(city) => Err(TextProblem::line(
                start,
                format!("the tour visits {} of {count} cities; city {} is missing", tour.len(), city + 1),
            )),
        }
    }

    /// The file of a tour.
    pub fn encode_tour(&self, tour: &[usize]) -> String {
        let cities: String = tour.iter().map(|city| format!("{}\n", city + 1)).collect();
        format!(
            "NAME : {}.tour\nCOMMENT : length {}\nTYPE : TOUR\nDIMENSION : {}\nTOUR_SECTION\n{cities}-1\nEOF\n",
            self.name,
            self.length(tour),
            tour.len()
        )
    }
}

/// All distances of places.
fn measured(metric: Metric, places: &[[f64; 2]]) -> Result<Vec<i64>, TextProblem> {
    let count = places.len();
    if !(3..=MOST).contains(&count) {
        return Err(TextProblem::Whole(format!("{count} cities: 3 to {MOST} are possible")));
    }
    let nearest = |x: f64| (x + 0.5).floor();
    let radians = |x: f64| {
        let degrees = x.trunc();
        // The constant of the format.
        #[expect(clippy::approx_constant, reason = "published distances are of this number")]
        const PI: f64 = 3.141592;
        PI * (degrees + 5.0 * (x - degrees) / 3.0) / 180.0
    };
    let distance = |a: &[f64; 2], b: &[f64; 2]| -> f64 {
        let square = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
        match metric {
            Metric::Ceiling => square.sqrt().ceil(),
            Metric::Att => {
                let r = (square / 10.0).sqrt();
                let t = nearest(r);
                if t < r { t + 1.0 } else { t }
            }
            Metric::Geographical => {
                let ([latitude, longitude], [other, east]) = (a.map(radians), b.map(radians));
                let q = [(longitude - east).cos(), (latitude - other).cos(), (latitude + other).cos()];
                let angle = 0.5 * ((1.0 + q[0]) * q[1] - (1.0 - q[0]) * q[2]);
                (6378.388 * angle.clamp(-1.0, 1.0).acos() + 1.0).floor()
            }
            Metric::Euclidean | Metric::Explicit => nearest(square.sqrt()),
        }
    };
    let mut distances = vec![0; count * count];
    for i in 0..count {
        for j in 0..i {
            let d = distance(&places[i], &places[j]);
            if d.is_nan() || d > LONGEST as f64 {
                return Err(TextProblem::Whole(format!(
                    "cities {} and {} are {d:.3e} apart, and {LONGEST} is possible",
                    j + 1,
                    i + 1
                )));
            }
            (distances[i * count + j], distances[j * count + i]) = (d as i64, d as i64);
        }
    }
    Ok(distances)
}

/// Distances that are listed.
fn explicit(file: &File, count: usize) -> Result<Vec<i64>, TextProblem> {
    let (line, format) = file.key("EDGE_WEIGHT_FORMAT")?;
    let layout = |lower, upper, diagonal| Layout { lower, upper, diagonal };
    // A triangle by columns is the other one by rows.
    let layout = match format {
        "FULL_MATRIX" => layout(true, true, true),
        "UPPER_ROW" | "LOWER_COL" => layout(false, true, false),
        "LOWER_ROW" | "UPPER_COL" => layout(true, false, false),
        "UPPER_DIAG_ROW" | "LOWER_DIAG_COL" => layout(false, true, true),
        "LOWER_DIAG_ROW" | "UPPER_DIAG_COL" => layout(true, false, true),
        _ => {
            return Err(TextProblem::line(
                line,
                format!(
                    "EDGE_WEIGHT_FORMAT is `{}`: FULL_MATRIX, UPPER_ROW, LOWER_ROW, UPPER_DIAG_ROW and LOWER_DIAG_ROW are \
                     read, and the same with COL",
                    shown(format)
                ),
            ));
        }
    };
    let (start, lines) = file.section("EDGE_WEIGHT_SECTION")?;
    let words =
        lines.iter().flat_map(|&(line, words)| words.split_whitespace().map(move |word| (line, word)));
    let places = (0..count).flat_map(|i| (0..count).map(move |j| (i, j))).filter(|&(i, j)| {
        if i == j { layout.diagonal } else { layout.lower && j < i || layout.upper && j > i }
    });
    let places: Vec<(usize, usize)> = places.collect();
    let (mut distances, mut found) = (vec![0; count * count], 0);
    for (line, word) in words {
        let value: i64 = number(word, line, "a distance, which must be a whole number,")?;
        let Some(&(i, j)) = places.get(found) else {
            return Err(TextProblem::line(line, format!("there are more than {} distances", places.len())));
        };
        if i != j && !(0..=LONGEST).contains(&value) {
            return Err(TextProblem::line(
                line,
                format!("cities {} and {} are {value} apart: 0 to {LONGEST} are possible", i + 1, j + 1),
            ));
        }
        if i != j {
            let both = layout.lower && layout.upper;
            if both && j < i && distances[j * count + i] != value {
                return Err(TextProblem::line(
                    line,
                    format!(
                        "it is {} from city {} to {}, and {value} back: only symmetric distances are read",
                        distances[j * count + i],
                        j + 1,
                        i + 1
                    ),
                ));
            }
            distances[i * count + j] = value;
            if !both {
                distances[j * count + i] = value;
            }
        }
        found += 1;
    }
    match found == places.len() {
        true => Ok(distances),
        false => Err(TextProblem::line(
            start,
            format!("{found} distances, and {count} cities have {} in {format}", places.len()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, places: &[[f64; 2]]) -> Cities {
        let list: String =
            places.iter().enumerate().map(|(i, [x, y])| format!("{} {x} {y}\n", i + 1)).collect();
        let count = places.len();
        let text = format!(
            "NAME: some\nTYPE: TSP\nDIMENSION: {count}\nEDGE_WEIGHT_TYPE: {kind}\nNODE_COORD_SECTION\n{list}EOF\n"
        );
        Cities::decode(&text).unwrap()
    }

    /// Distances by hand.
    #[test]
    fn distances_are_rounded_as_each_kind_says() {
        let square = [[0.0, 0.0], [1.0, 1.0], [0.0, 2.5], [7.0, 1.0]];
        let (euclidean, ceiling, att) = (of("EUC_2D", &square), of("CEIL_2D", &square), of("ATT", &square));
        // √2 = 1.41, 2.5, √50 = 7.07.
        assert_eq!([1, 2, 3].map(|j| euclidean.distance(0, j)), [1, 3, 7]);
        assert_eq!([1, 2, 3].map(|j| ceiling.distance(0, j)), [2, 3, 8]);
        // √(2/10) = 0.45, √(6.25/10) = 0.79, √5 = 2.24.
        assert_eq!([1, 2, 3].map(|j| att.distance(0, j)), [1, 1, 3]);
        // A degree of a great circle is 111.3 km, and 30 minutes are half of it.
        let earth = of("GEO", &[[0.0, 0.0], [0.0, 1.0], [0.30, 0.0], [90.0, 0.0]]);
        assert_eq!([1, 2, 3].map(|j| earth.distance(0, j)), [112, 56, 10020]);
        assert_eq!(euclidean.length(&[0, 1, 3, 2]), 1 + 6 + 7 + 3);
    }

    #[test]
    fn matrices_of_every_layout_are_the_same() {
        let of = |format: &str, numbers: &str| {
            let head = "NAME: m\nTYPE: TSP\nDIMENSION: 3\nEDGE_WEIGHT_TYPE: EXPLICIT\nEDGE_WEIGHT_FORMAT:";
            Cities::decode(&format!("{head} {format}\nEDGE_WEIGHT_SECTION\n{numbers}\nEOF"))
        };
        let full = of("FULL_MATRIX", "0 1 2\n1 0 3\n2 3 0").unwrap();
        for (format, numbers) in [
            ("UPPER_ROW", "1 2\n3"),
            ("LOWER_ROW", "1\n2 3"),
            ("UPPER_DIAG_ROW", "0 1 2 0 3 0"),
            ("LOWER_DIAG_ROW", "0 1 0 2 3 0"),
            ("UPPER_COL", "1 2 3"),
            ("LOWER_COL", "1 2 3"),
        ] {
            assert_eq!(of(format, numbers).unwrap(), full, "{format}");
        }
        for (format, numbers, part) in [
            ("FULL_MATRIX", "0 1 2\n1 0 3\n2 4 0", "line 9: it is 3 from city 2 to 3, and 4 back"),
            ("UPPER_ROW", "1 2", "line 6: 2 distances, and 3 cities have 3"),
            ("UPPER_ROW", "1 2 3 4", "line 7: there are more than 3"),
            ("UPPER_ROW", "1 -2 3", "are -2 apart"),
            ("UPPER_ROW", "1 2.5 3", "whole number"),
            ("DIAGONAL", "1", "`DIAGONAL`"),
        ] {
            let error = of(format, numbers).unwrap_err().to_string();
            assert!(error.contains(part), "{format}: {error}");
        }
    }

    #[test]
    fn broken_files_are_refused_with_their_line() {
        let head = "NAME : x\nTYPE : TSP\nDIMENSION : 3\nEDGE_WEIGHT_TYPE : EUC_2D\nNODE_COORD_SECTION\n";
        for (text, part) in [
            ("", "no DIMENSION"),
            ("hello\n", "line 1: `hello`"),
            ("TYPE : ATSP\n", "`ATSP`"),
            ("DIMENSION : 2\n", "2 cities: 3 to"),
            ("DIMENSION : 99999999\n", "cities: 3 to"),
            ("DIMENSION : 3\n", "no EDGE_WEIGHT_TYPE"),
            ("DIMENSION : 3\nEDGE_WEIGHT_TYPE : XRAY1\n", "line 2: EDGE_WEIGHT_TYPE is `XRAY1`"),
            ("DIMENSION : 3\nEDGE_WEIGHT_TYPE : EUC_2D\n", "no NODE_COORD_SECTION"),
            (&format!("{head}1 0 0\n2 1 1\n"), "line 5: 2 of 3 cities are in NODE_COORD_SECTION; city 3"),
            (&format!("{head}1 0 0\n1 1 1\n"), "line 7: city 1 is there again"),
            (&format!("{head}4 0 0\n"), "line 6: city 4: they are 1 to 3"),
            (&format!("{head}0 0 0\n"), "city 0"),
            (&format!("DIMENSION : 4\n{head}"), "line 4: DIMENSION is there again"),
            (
                &format!("{head}1 0 0\nFIXED_EDGES_SECTION\n1 2\n-1\n"),
                "line 7: FIXED_EDGES_SECTION is not read",
            ),
            (&format!("{head}1 0 0\nNODE_COORD_SECTION\n"), "line 7: NODE_COORD_SECTION is there again"),
            (&format!("{head}1 0\n"), "line 6: a city is"),
            (&format!("{head}1 0 nan\n"), "line 6: city 1 is at"),
            (&format!("{head}1 0 0\n2 1 1\n3 1e300 0\n"), "apart"),
        ] {
            let error = Cities::decode(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn tours_visit_every_city_once() {
        let cities = of("EUC_2D", &[[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]]);
        let tour = Cities::decode_tour(&cities.encode_tour(&[2, 0, 1]), 3).unwrap();
        assert_eq!((tour.clone(), cities.length(&tour)), (vec![2, 0, 1], 12));
        for (text, part) in [
            ("TOUR_SECTION\n1\n2\n2\n-1\n", "line 4: city 2 is visited twice"),
            ("TOUR_SECTION\n1 2\n-1\n", "line 1: the tour visits 2 of 3 cities; city 3 is missing"),
            ("TOUR_SECTION\n1 2 4\n-1\n", "line 2: city 4"),
            ("TOUR_SECTION\n0\n", "city 0"),
            ("1 2 3\n", "line 1"),
        ] {
            let error = Cities::decode_tour(text, 3).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
