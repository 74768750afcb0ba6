package poolcloudwatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/smithy-go"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/plugins/metrics/export"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// What CloudWatch takes in one request, and of which times. The bytes are counted
// before they are compressed, with room for what surrounds the text.
const (
	maxData  = 1000
	maxBytes = 900_000
	maxPast  = 14*24*time.Hour - time.Hour
	maxAhead = 2*time.Hour - time.Minute
)

const dimensionPool = "Pool"

// Sink sends batches to CloudWatch.
type Sink struct {
	// Immutable after creation.
	cfg    Config
	client *cloudwatch.Client
	names  map[string]Name
	common []types.Dimension

	mu      sync.Mutex
	sent    map[string]total // guarded by mu; by name and dimensions
	unsaved bool             // guarded by mu; the state file could not be written last time
}

var _ metrics.Sink = (*Sink)(nil)

// total is what was sent last of a series. The state file has it so.
type total struct {
	Value float64   `json:"value"`
	Time  time.Time `json:"time"` // of the number
	Seen  time.Time `json:"seen"` // when the series was last in a batch
}

// forget is how long a series may be missing before it is one that nobody has any more.
const forget = 24 * time.Hour

// New returns a sink. It reports every fault of cfg at once. ctx is for finding
// credentials and region where cfg has none.
func New(ctx context.Context, cfg Config) (*Sink, error) {
	if err := cfg.complete(ctx); err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, names: make(map[string]Name), sent: make(map[string]total)}
	for _, n := range Names() {
		s.names[n.Measure] = n
	}
	for _, k := range slices.Sorted(maps.Keys(cfg.Dimensions)) {
		s.common = append(s.common, types.Dimension{Name: aws.String(k), Value: aws.String(cfg.Dimensions[k])})
	}
	s.client = cloudwatch.NewFromConfig(*cfg.AWS, func(o *cloudwatch.Options) {
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
		}
	})
	if err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// Publish sends the statistics of a pool once: its gauges, and its counters since it
// was made.
func Publish(ctx context.Context, stats mcpool.Stats, cfg Config) error {
	cfg.Resume, cfg.StateFile = false, "" // there is no difference to anything
	s, err := New(ctx, cfg)
	if err != nil {
		return err
	}
	pools := export.New(export.Config{Prefix: s.cfg.Prefix})
	if err := pools.AddMCP(stats.Name, now(stats)); err != nil {
		return err
	}
	res, err := s.Export(ctx, pools.Collect(time.Now()))
	if err == nil && res.Rejected > 0 {
		err = fmt.Errorf("poolcloudwatch: %d numbers were not sent: %s", res.Rejected, res.Reason)
	}
	return err
}

// now is a pool whose statistics stand still.
type now mcpool.Stats

func (n now) Stats() mcpool.Stats { return mcpool.Stats(n) }

// datum is a number on its way.
type datum struct {
	types.MetricDatum

	key  string
	then total // what is remembered once it has arrived
	size int
}

// Export sends a batch, in as many requests as CloudWatch's limits make of it. If one
// of them fails, those before it have arrived, and are not sent again with the batch.
func (s *Sink) Export(ctx context.Context, b metrics.Batch) (metrics.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reload()
	defer s.save()
	var res metrics.Result
	data := s.data(b, &res)
	maps.DeleteFunc(s.sent, func(_ string, t total) bool { return time.Since(t.Seen) > forget })
	for len(data) > 0 {
		n := fits(data)
		if err := s.put(ctx, data[:n]); err != nil {
			return metrics.Result{}, err
		}
		for _, d := range data[:n] {
			s.sent[d.key] = d.then
		}
		if data = data[n:]; len(data) > 0 {
			s.save() // at once: what is not in it when the process is killed is sent again
		}
	}
	return res, nil
}

// String names where the numbers go.
func (s *Sink) String() string {
	return fmt.Sprintf("poolcloudwatch.Sink{%s in %s}", s.cfg.Namespace, s.cfg.AWS.Region)
}

// Format writes String whatever the verb, so that no print shows a key.
func (s *Sink) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String.
func (s *Sink) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Close ends nothing: a sink has nothing that runs, and its state file is up to date.
func (s *Sink) Close(context.Context) error { return nil }

// fits is how many go into the next request, one at least.
func fits(data []datum) int {
	size := 0
	for i, d := range data {
		if size += d.size; i > 0 && (size > maxBytes || i == maxData) {
			return i
		}
	}
	return len(data)
}

// data returns what a batch has to send. REQUIRES: s.mu.
func (s *Sink) data(b metrics.Batch, res *metrics.Result) []datum {
	var all []datum
	reject := func(n int, why string) {
		if n > 0 {
			res.Rejected, res.Reason = res.Rejected+n, why
		}
	}
	for _, scope := range b.Scopes {
		for _, m := range scope.Metrics {
			name, ok := s.name(m)
			if !ok {
				continue
			}
			reject(len(m.Histograms), "CloudWatch gets no distributions from this sink")
			for _, n := range m.Numbers {
				d, why := s.datum(name, m, n)
				if why != "" {
					reject(1, m.Name+" "+why)
				} else if d != nil {
					all = append(all, *d)
				}
			}
		}
	}
	return all
}

// name tells how a metric is called, and whether it is sent at all.
func (s *Sink) name(m metrics.Metric) (Name, bool) {
	measure, ours := strings.CutPrefix(m.Name, s.cfg.Prefix)
	if n, known := s.names[measure]; ours && known {
		return n, true
	}
	if !s.cfg.All {
		return Name{}, false
	}
	n := Name{Measure: measure, Name: camel(ascii(measure, 255)), Unit: types.StandardUnitNone}
	switch {
	case m.Unit == "s":
		n.Unit = types.StandardUnitSeconds
	case m.Type == metrics.Sum && m.Monotonic:
		n.Unit = types.StandardUnitCount
	}
	return n, n.Name != ""
}

// datum makes one number, or none if it was sent before or is where counting begins,
// or tells why it cannot be sent. REQUIRES: s.mu.
func (s *Sink) datum(name Name, m metrics.Metric, n metrics.Number) (*datum, string) {
	value := n.Value
	age := time.Since(n.Time)
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0) || math.Abs(value) > math.Ldexp(1, 360):
		return nil, "is no number that CloudWatch takes"
	case age > maxPast || age < -maxAhead:
		return nil, "is of a time that CloudWatch does not take"
	}
	dimensions, size := s.dimensions(n.Attributes)
	if len(dimensions) > 30 {
		return nil, "has more than 30 dimensions"
	}
	d := &datum{size: size + len(name.Name) + 150, then: total{value, n.Time, time.Now()}}
	d.key = name.Name
	for _, x := range dimensions {
		d.key += "\x00" + *x.Name + "\x00" + *x.Value
	}
	before, known := s.sent[d.key]
	if known {
		before.Seen = d.then.Seen
		s.sent[d.key] = before
	}
	switch {
	case known && !n.Time.After(before.Time):
		return nil, "" // it arrived with an earlier attempt at this batch
	case m.Type != metrics.Sum || !m.Monotonic:
	case !known && s.cfg.Resume:
		s.sent[d.key] = d.then
		return nil, ""
	case known && value >= before.Value && !n.Start.After(before.Time):
		value -= before.Value
	}
	d.MetricDatum = types.MetricDatum{
		MetricName: aws.String(name.Name), Dimensions: dimensions, Unit: name.Unit, Value: aws.Float64(value), Timestamp: aws.Time(n.Time),
	}
	return d, ""
}

// dimensions are the common ones and those of a point, by name.
func (s *Sink) dimensions(attributes []metrics.Attribute) (all []types.Dimension, size int) {
	all = slices.Clone(s.common)
	for _, a := range attributes {
		name, value := ascii(strings.TrimLeft(a.Key, ":"), 255), ascii(a.Value, 1024)
		if a.Key == "pool" {
			name = dimensionPool
		}
		if name == "" || value == "" {
			continue // CloudWatch has no empty ones
		}
		if slices.ContainsFunc(all, func(d types.Dimension) bool { return *d.Name == name }) {
			continue // the operator's own says more, and one that is there twice would cost the whole request
		}
		all = append(all, types.Dimension{Name: &name, Value: &value})
	}
	slices.SortStableFunc(all, func(a, b types.Dimension) int { return strings.Compare(*a.Name, *b.Name) })
	// CloudWatch refuses a request for one name that is there twice.
	all = slices.CompactFunc(all, func(a, b types.Dimension) bool { return *a.Name == *b.Name })
	for _, d := range all {
		size += len(*d.Name) + len(*d.Value) + 40
	}
	return all, size
}

// put sends one request.
func (s *Sink) put(ctx context.Context, data []datum) error {
	in := &cloudwatch.PutMetricDataInput{Namespace: &s.cfg.Namespace, MetricData: make([]types.MetricDatum, 0, len(data))}
	for _, d := range data {
		in.MetricData = append(in.MetricData, d.MetricDatum)
	}
	_, err := s.client.PutMetricData(ctx, in)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("poolcloudwatch: PutMetricData of %d numbers to %s in %s: %w", len(data), s.cfg.Namespace, s.cfg.AWS.Region, err)
	if refused(err) {
		return metrics.Permanent(err)
	}
	return err
}

// refused tells whether CloudWatch will say the same next time. Throttling and
// expired tokens are no such thing.
func refused(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch code := api.ErrorCode(); code {
	case "AccessDenied", "AccessDeniedException", "NotAuthorized", "OptInRequired", "UnrecognizedClientException", "InvalidClientTokenId",
		"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken",
		"ValidationError", "ValidationException", "InvalidFormat", "InvalidFormatFault", "RequestEntityTooLarge", "SerializationException":
		return true
	default:
		return strings.HasPrefix(code, "InvalidParameter") || strings.HasPrefix(code, "MissingRequiredParameter") || strings.HasPrefix(code, "MissingParameter")
	}
}
