//! From the registry's own text to the data points of OTLP, so that a collector is sent exactly what
//! `/metrics` shows.
//!
//! It reads `OpenMetrics` as our registry writes it: each family's description before its samples, the
//! buckets of a histogram in their order. What does not fit that form makes the whole unreadable; nothing
//! is guessed.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum, exemplar, number_data_point,
};
use portcullis_domain::TraceId;
use time::OffsetDateTime;

use super::spans;

/// When counting began, and when this was read.
#[derive(Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
}

/// The metrics of a text. Nothing where it is not of the expected form.
pub(super) fn of_text(text: &str, from: OffsetDateTime, to: OffsetDateTime) -> Option<Vec<Metric>> {
    let nanos = |at: OffsetDateTime| u64::try_from(at.unix_timestamp_nanos()).unwrap_or(0);
    let span = Span {
        from: nanos(from),
        to: nanos(to),
    };
    let mut metrics = Vec::new();
    let mut help = "";
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            help = said.split_once(' ')?.1;
        } else if let Some(said) = line.strip_prefix("# TYPE ") {
            let (name, kind) = said.split_once(' ')?;
            metrics.push(metric(name, help, kind)?);
        } else if line == "# EOF" {
            metrics.retain(has_points);
            return Some(metrics);
        } else if !line.starts_with('#') {
            let metric = metrics.last_mut()?;
            sample(metric, &Sample::read(line)?, span)?;
        }
    }
    None
}

fn metric(name: &str, help: &str, kind: &str) -> Option<Metric> {
    let temporality = AggregationTemporality::Cumulative.into();
    let data = match kind {
        "counter" => Data::Sum(Sum {
            aggregation_temporality: temporality,
            is_monotonic: true,
            ..Sum::default()
        }),
        "gauge" | "info" => Data::Gauge(Gauge::default()),
        "histogram" => Data::Histogram(Histogram {
            aggregation_temporality: temporality,
            ..Histogram::default()
        }),
        _ => return None,
    };
    Some(Metric {
        name: name.to_owned(),
        description: help.trim_end_matches('.').to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn has_points(metric: &Metric) -> bool {
    match &metric.data {
        Some(Data::Sum(sum)) => !sum.data_points.is_empty(),
        Some(Data::Gauge(gauge)) => !gauge.data_points.is_empty(),
        Some(Data::Histogram(histogram)) => !histogram.data_points.is_empty(),
        Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None => false,
    }
}

/// Adds a line to the metric that it belongs to.
fn sample(metric: &mut Metric, sample: &Sample<'_>, span: Span) -> Option<()> {
    let suffix = sample.name.strip_prefix(metric.name.as_str())?;
    match (&mut metric.data, suffix) {
        (Some(Data::Sum(sum)), "_total") => sum.data_points.push(sample.number(span)?),
        (Some(Data::Gauge(gauge)), "" | "_info") => gauge.data_points.push(sample.number(span)?),
        (Some(Data::Histogram(histogram)), _) => {
            part_of_histogram(&mut histogram.data_points, suffix, sample, span)?;
        }
        _ => return None,
    }
    Some(())
}

/// The lines of one histogram: its sum, its count, then its buckets from the lowest.
fn part_of_histogram(
    points: &mut Vec<HistogramDataPoint>,
    suffix: &str,
    sample: &Sample<'_>,
    span: Span,
) -> Option<()> {
    let bound = sample.labels.iter().find(|(key, _)| *key == "le");
    let attributes = sample.attributes(|key| key != "le");
    if suffix == "_sum" {
        points.push(HistogramDataPoint {
            attributes,
            start_time_unix_nano: span.from,
            time_unix_nano: span.to,
            sum: Some(sample.value.parse().ok()?),
            ..HistogramDataPoint::default()
        });
        return Some(());
    }
    let point = points
        .last_mut()
        .filter(|point| point.attributes == attributes)?;
    match (suffix, bound) {
        ("_count", None) => point.count = sample.value.parse().ok()?,
        ("_bucket", Some((_, bound))) => {
            let up_to_here: u64 = sample.value.parse().ok()?;
            let before: u64 = point.bucket_counts.iter().sum();
            point.bucket_counts.push(up_to_here.checked_sub(before)?);
            if bound != "+Inf" {
                point.explicit_bounds.push(bound.parse().ok()?);
            }
            if let Some(exemplar) = &sample.exemplar {
                point.exemplars.push(exemplar.of(span));
            }
        }
        _ => return None,
    }
    Some(())
}

type Labels<'a> = Vec<(&'a str, String)>;

/// One line of the text.
#[derive(Debug)]
struct Sample<'a> {
    name: &'a str,
    labels: Labels<'a>,
    value: &'a str,
    exemplar: Option<Traced>,
}

/// The trace that a value came from.
#[derive(Debug)]
struct Traced {
    trace: TraceId,
    value: f64,
}

impl<'a> Sample<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, rest) = line.split_at_checked(end)?;
        let (labels, rest) = labels(rest)?;
        let (value, exemplar) = match rest.trim().split_once(" # ") {
            Some((value, exemplar)) => (value, Some(Traced::read(exemplar)?)),
            None => (rest.trim(), None),
        };
        Some(Self {
            name,
            labels,
            value,
            exemplar,
        })
    }

    fn attributes(&self, wanted: impl Fn(&str) -> bool) -> Vec<KeyValue> {
        let labels = self.labels.iter().filter(|(key, _)| wanted(key));
        labels.map(|(key, value)| spans::text(key, value)).collect()
    }

    fn number(&self, span: Span) -> Option<NumberDataPoint> {
        let value = match self.value.parse::<i64>() {
            Ok(whole) => number_data_point::Value::AsInt(whole),
            Err(_broken) => number_data_point::Value::AsDouble(self.value.parse().ok()?),
        };
        Some(NumberDataPoint {
            attributes: self.attributes(|_| true),
            start_time_unix_nano: span.from,
            time_unix_nano: span.to,
            value: Some(value),
            ..NumberDataPoint::default()
        })
    }
}

impl Traced {
    fn read(text: &str) -> Option<Self> {
        let (labels, rest) = labels(text)?;
        let (_, trace) = labels.into_iter().find(|(key, _)| *key == "trace_id")?;
        let value = rest.split_whitespace().next()?;
        Some(Self {
            trace: trace.parse().ok()?,
            value: value.parse().ok()?,
        })
    }

    fn of(&self, span: Span) -> Exemplar {
        Exemplar {
            time_unix_nano: span.to,
            trace_id: self.trace.as_bytes().to_vec(),
            value: Some(exemplar::Value::AsDouble(self.value)),
            ..Exemplar::default()
        }
    }
}

/// The labels at the beginning of a text, and what follows them.
fn labels(text: &str) -> Option<(Labels<'_>, &str)> {
    let mut found = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return Some((found, text));
    };
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((found, after));
        }
        let (key, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        found.push((key, value));
        rest = after;
    }
}

/// A quoted value up to its closing quote, and what follows that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return Some((value, rest.as_str())),
            '\\' => value.push(match rest.next()? {
                'n' => '\n',
                other => other,
            }),
            plain => value.push(plain),
        }
    }
}
