package logs

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var all = Options{Tail: -1, Limit: -1, Stdout: true, Stderr: true}

func logFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

const sample = "2026-01-01T00:00:01Z stdout F one\n" +
	"2026-01-01T00:00:02Z stderr F two\n" +
	"2026-01-01T00:00:03Z stdout P thr\n" +
	"2026-01-01T00:00:03Z stdout F ee\n" +
	"2026-01-01T00:00:04Z stdout F \n"

func TestRead(t *testing.T) {
	path := logFile(t, sample)
	with := func(f func(*Options)) Options { o := all; f(&o); return o }
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"all":        {all, "one\ntwo\nthree\n\n"},
		"stdout":     {with(func(o *Options) { o.Stderr = false }), "one\nthree\n\n"},
		"tail 2":     {with(func(o *Options) { o.Tail = 2 }), "three\n\n"},
		"tail 0":     {with(func(o *Options) { o.Tail = 0 }), ""},
		"tail 99":    {with(func(o *Options) { o.Tail = 99 }), "one\ntwo\nthree\n\n"},
		"limit":      {with(func(o *Options) { o.Limit = 6 }), "one\ntw"},
		"since":      {with(func(o *Options) { o.Since = time.Date(2026, 1, 1, 0, 0, 3, 0, time.UTC) }), "three\n\n"},
		"timestamps": {with(func(o *Options) { o.Timestamps, o.Tail = true, 2 }), "2026-01-01T00:00:03Z three\n2026-01-01T00:00:04Z \n"},
	} {
		var b bytes.Buffer
		if err := Read(&b, path, c.o); err != nil || b.String() != c.want {
			t.Errorf("%s: %q, %v; want %q", name, b.String(), err, c.want)
		}
	}
	if err := Read(io.Discard, path+".absent", all); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

// TestTail: the last n lines are the end of all lines, whatever the records.
func TestTail(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		var file, text strings.Builder
		var lines []string
		for range rapid.IntRange(0, 60).Draw(t, "lines") {
			line := ""
			for parts := rapid.IntRange(1, 3).Draw(t, "parts"); parts > 0; parts-- {
				part := strings.Repeat("x", rapid.SampledFrom([]int{0, 1, 70, 3000}).Draw(t, "length"))
				tag := "P"
				if parts == 1 {
					tag = "F"
				}
				fmt.Fprintf(&file, "2026-01-01T00:00:00Z stdout %s %s\n", tag, part)
				line += part
			}
			lines = append(lines, line+"\n")
		}
		n := rapid.IntRange(0, 70).Draw(t, "n")
		for _, l := range lines[max(len(lines)-n, 0):] {
			text.WriteString(l)
		}
		path := filepath.Join(dir, "log")
		if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		o := all
		o.Tail = int64(n)
		var b bytes.Buffer
		if err := Read(&b, path, o); err != nil {
			t.Fatal(err)
		}
		if b.String() != text.String() {
			t.Fatalf("%d lines, tail %d: got %d bytes, want %d", len(lines), n, b.Len(), text.Len())
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(sample), int64(1), int64(-1))
	f.Add([]byte("no record\n\n \nx stdout\n"), int64(2), int64(3))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, tail, limit int64) {
		path := filepath.Join(dir, "log")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		o := all
		o.Tail, o.Limit = max(tail, -1), max(limit, -1)
		var b bytes.Buffer
		if err := Read(&b, path, o); err != nil {
			return
		}
		if o.Limit >= 0 && int64(b.Len()) > o.Limit {
			t.Errorf("%d bytes over the limit of %d", b.Len(), o.Limit)
		}
	})
}

// sink lets a test wait for what was written.
type sink struct {
	mu   sync.Mutex
	cond *sync.Cond
	b    bytes.Buffer
}

func newSink() *sink { s := &sink{}; s.cond = sync.NewCond(&s.mu); return s }

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.cond.Broadcast()
	return s.b.Write(p)
}

func (s *sink) await(want string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.b.String() != want {
		s.cond.Wait()
	}
}

func add(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// grower adds a line to the log for each write it gets, as a busy container does.
type grower struct {
	bytes.Buffer
	grow func()
}

func (g *grower) Write(b []byte) (int, error) {
	if g.Len() < 100 {
		g.grow()
	}
	return g.Buffer.Write(b)
}

func TestReadEndsWhereTheLogEndedWhenItBegan(t *testing.T) {
	path := logFile(t, "T stdout F one\nT stdout F two\n")
	out := &grower{grow: func() { add(t, path, "T stdout F later\n") }}
	o := all
	o.Tail = 1
	if err := Read(out, path, o); err != nil || out.String() != "two\n" {
		t.Errorf("%q, %v; want %q", out.String(), err, "two\n")
	}
}

func TestFollow(t *testing.T) {
	path := logFile(t, "T stdout F one\n")
	out, ended := newSink(), make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- Follow(context.Background(), out, path, all, ended) }()
	out.await("one\n")
	add(t, path, "T stdout F two\nT stdout F th")
	out.await("one\ntwo\n")
	add(t, path, "ree\n")
	out.await("one\ntwo\nthree\n")
	// Rotation: nothing is lost, nothing comes twice.
	err := Rotate(path, time.Now(), 3, func() error { add(t, path, "T stdout F four\n"); return nil })
	if err != nil {
		t.Fatal(err)
	}
	out.await("one\ntwo\nthree\nfour\n")
	add(t, path, "T stdout F five\n")
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	out.await("one\ntwo\nthree\nfour\nfive\n")
}

func TestFollowEndsWithItsContext(t *testing.T) {
	path := logFile(t, "")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Follow(ctx, newSink(), path, all, nil) }()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRotate(t *testing.T) {
	path := logFile(t, "0")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := 1; i <= 6; i++ {
		now = now.Add(time.Second)
		if err := Rotate(path, now, 4, func() error { return os.WriteFile(path, fmt.Append(nil, i), 0o640) }); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	list, _ := filepath.Glob(path + "*")
	for _, f := range list {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if b, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, string(b))
	}
	if s := strings.Join(got, " "); s != "6 3 4 5" {
		t.Errorf("kept %s", s)
	}
	failure := errors.New("no")
	if err := Rotate(path, now.Add(time.Hour), 4, func() error { return failure }); !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "6" {
		t.Errorf("the log is not put back: %q", b)
	}
}
