package bench_test

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/template"
)

const hello = "hello" // testdata/hello, beside the functions

// withPhones are the functions that read phone numbers, whose numbering plans
// weigh more than everything else. bonuscheck-import, the largest, reads
// spreadsheets and every encoding as well.
var withPhones = []string{"backfill-worker", "bonuscheck-import", "contact-add", "contact-find", "contact-update", "history-worker", "order-worker"}

// Budgets of a zip, in MB of 2^20 bytes, as Lambda counts and make smoke prints.
const (
	maxZip           = 4.0
	maxZipWithPhones = 7.0 // two of them have the world's time zones, too, for the till's clock
)

// BenchmarkBuilt measures the functions as they are built: the size of the zip
// that is deployed (arm64) and the time from starting the executable (this
// machine's processor) to its first poll, when Lambda can send it an event. Both
// are compared with a function that does nothing, built with the same flags; the
// two start in turns, and medians are compared. The functions' environment is
// complete, but nothing in it leads anywhere. A zip over its budget is a failure.
func BenchmarkBuilt(b *testing.B) {
	deployed, here := build(b, "linux", "arm64"), build(b, runtime.GOOS, runtime.GOARCH)
	sizes := zippedAll(b, deployed)
	base := sizes[hello]
	b.Run(hello, func(b *testing.B) {
		var starts []time.Duration
		for b.Loop() {
			starts = append(starts, start(b, filepath.Join(here, hello), nil))
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(base, "zip-MB")
		b.ReportMetric(milliseconds(median(starts)), "start-ms")
	})
	for _, f := range load(b).Functions {
		b.Run(f.Name, func(b *testing.B) {
			size, limit := sizes[f.Name], maxZip
			if slices.Contains(withPhones, f.Name) {
				limit = maxZipWithPhones
			}
			if size > limit {
				b.Errorf("the zip has %.2f MB, at most %.1f are expected", size, limit)
			}
			env := environment(b, f)
			var starts, others []time.Duration
			for b.Loop() {
				others = append(others, start(b, filepath.Join(here, hello), nil))
				starts = append(starts, start(b, filepath.Join(here, f.Name), env))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(size, "zip-MB")
			b.ReportMetric(size/base, "x-hello-zip")
			b.ReportMetric(milliseconds(median(starts)), "start-ms")
			b.ReportMetric(median(starts).Seconds()/median(others).Seconds(), "x-hello-start")
		})
	}
}

func load(tb testing.TB) *template.Template {
	tb.Helper()
	t, err := template.Load("../../template.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// build builds every function and hello into a new folder, with the flags of
// the Makefile's target build-%.
func build(tb testing.TB, system, processor string) string {
	tb.Helper()
	dir := tb.TempDir()
	cmd := exec.CommandContext(tb.Context(), "go", "build",
		"-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=",
		"-o", dir+string(filepath.Separator), "./functions/...", "./local/bench/testdata/hello")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+processor)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build for %s/%s: %v\n%s", system, processor, err, out)
	}
	return dir
}

// zippedAll returns the sizes, in MB, of the zips of a folder's executables.
func zippedAll(tb testing.TB, dir string) map[string]float64 {
	tb.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	sizes, errs := make([]int64, len(files)), make([]error, len(files))
	var wg sync.WaitGroup
	for i, f := range files {
		wg.Go(func() { sizes[i], errs[i] = zipped(filepath.Join(dir, f.Name())) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		tb.Fatal(err)
	}
	named := map[string]float64{}
	for i, f := range files {
		named[f.Name()] = float64(sizes[i]) / (1 << 20)
	}
	return named
}

// zipped returns the size of an executable's zip in bytes. Go's deflate leaves
// it some 3 % larger than the zlib that SAM packs with, so the real one is
// smaller.
func zipped(path string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var size counter
	z := zip.NewWriter(&size)
	w, err := z.Create("bootstrap")
	if err != nil {
		return 0, fmt.Errorf("zip %s: %w", path, err)
	}
	if _, err := io.Copy(w, file); err != nil {
		return 0, fmt.Errorf("zip %s: %w", path, err)
	}
	if err := z.Close(); err != nil {
		return 0, fmt.Errorf("zip %s: %w", path, err)
	}
	return int64(size), nil
}

// counter counts the bytes written to it.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// start starts a function, ends it, and returns the time to its first poll.
func start(tb testing.TB, path string, env []string) time.Duration {
	tb.Helper()
	p, err := runtimeapi.Start(tb.Context(), runtimeapi.Options{Path: path, Name: filepath.Base(path), Env: env})
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.Close(); err != nil {
		tb.Fatal(err)
	}
	return p.StartTime()
}

// environment is a function's own, with made-up resources and a Rule that is not
// there.
func environment(tb testing.TB, f template.Function) []string {
	tb.Helper()
	env := []string{"AWS_REGION=" + template.Region, "AWS_ACCESS_KEY_ID=made-up", "AWS_SECRET_ACCESS_KEY=made-up"}
	for name, v := range f.Environment {
		text, err := v.Resolve(func(id, _ string) (string, error) {
			return "https://resource.example.com/" + id, nil
		})
		if err != nil {
			tb.Fatalf("%s of %s: %v", name, f.ID, err)
		}
		if name == "RULE_URL" {
			text = "http://127.0.0.1:1"
		}
		env = append(env, fmt.Sprintf("%s=%s", name, text))
	}
	return env
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
