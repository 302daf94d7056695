package spi

import (
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// Count counts one of something in a metric of CloudWatch's: the log line of the
// request is written in its embedded metric format.
func (r *Request) Count(metric string) { r.counts = append(r.counts, metric) }

// embedded returns what makes a log line count its metrics; nil for none.
func embedded(counts []string, now time.Time) []any {
	if len(counts) == 0 {
		return nil
	}
	type metric struct{ Name, Unit string }
	var metrics []metric
	var args []any
	for _, name := range counts {
		metrics = append(metrics, metric{name, "Count"})
		args = append(args, name, 1)
	}
	return append(args, "function", lambdacontext.FunctionName, "_aws", map[string]any{
		"Timestamp":         now.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{"Namespace": "sitoo-rule", "Dimensions": [][]string{{"function"}}, "Metrics": metrics}},
	})
}
