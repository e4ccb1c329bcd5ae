//go:build linux && cgo

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever the pieces in which output comes, the log holds all of it, by stream
// and in order, in lines of bounded length.
func TestLogHoldsAll(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "log")
		os.Remove(path)
		l, err := openLog(path, newBuffers())
		if err != nil {
			t.Fatal(err)
		}
		said := map[string]string{}
		for range rapid.IntRange(0, 12).Draw(t, "pieces") {
			stream := rapid.SampledFrom([]string{"stdout", "stderr"}).Draw(t, "stream")
			piece := rapid.OneOf(
				rapid.StringMatching(`[a-c\n]{1,20}`),
				rapid.Map(rapid.IntRange(1, 3*maxLine), func(n int) string { return strings.Repeat("x", n) }),
			).Draw(t, "piece")
			said[stream] += piece
			l.write(stream, []byte(piece))
			if rapid.IntRange(0, 9).Draw(t, "reopen") == 0 {
				if err := l.reopen(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, stream := range []string{"stdout", "stderr"} {
			l.end(stream)
		}
		l.close()
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		read := map[string]string{}
		for line := range strings.Lines(string(raw)) {
			f := strings.SplitN(line, " ", 4)
			if len(f) != 4 {
				t.Fatalf("line %q", line)
			}
			if _, err := time.Parse(time.RFC3339Nano, f[0]); err != nil || len(f[0]) != len(stamp) {
				t.Fatalf("time %q: %v", f[0], err)
			}
			text := strings.TrimSuffix(f[3], "\n")
			if len(text) > maxLine {
				t.Fatalf("a line of %d bytes", len(text))
			}
			switch f[2] {
			case "F":
				text += "\n"
			case "P":
			default:
				t.Fatalf("tag %q", f[2])
			}
			read[f[1]] += text
		}
		for stream, want := range said {
			if read[stream] != want {
				t.Fatalf("%s: %d bytes of %d", stream, len(read[stream]), len(want))
			}
		}
	})
}

func TestNoLog(t *testing.T) {
	l, err := openLog("", newBuffers())
	if err != nil {
		t.Fatal(err)
	}
	l.write("stdout", []byte("x\n"))
	l.end("stdout")
	if err := l.reopen(); err != nil {
		t.Error(err)
	}
	l.close()
}

// A reader that falls behind is let go, and nobody waits for it.
func TestSlowReaderIsLetGo(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tap := newTap(w)
	piece := make([]byte, 64<<10)
	for i := 0; tap.write(piece); i++ {
		if i > 100 {
			t.Fatal("it is kept for good")
		}
	}
	<-tap.done
	if tap.write(piece) {
		t.Error("it is written to again")
	}
}

func BenchmarkLog(b *testing.B) {
	l, err := openLog(filepath.Join(b.TempDir(), "log"), newBuffers())
	if err != nil {
		b.Fatal(err)
	}
	defer l.close()
	p := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 100))
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		l.write("stdout", p)
	}
}
