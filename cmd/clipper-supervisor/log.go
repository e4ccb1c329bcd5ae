//go:build linux && cgo

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxLine is the longest line kept whole in a log; longer ones are split into
// parts tagged P, as other runtimes do at the same length.
const maxLine = 16 << 10

// stamp is RFC 3339 with all nine digits, so that lines sort as text.
const stamp = "2006-01-02T15:04:05.000000000Z"

// logFile writes a container's output in the format that kubelets read:
// "2006-01-02T15:04:05.000000000Z stdout F line".
type logFile struct {
	path string

	mu      sync.Mutex
	file    *os.File // nil when there is no log, or it could not be opened
	out     []byte
	partial map[string][]byte // by stream, the beginning of an unfinished line
}

func openLog(path string) (*logFile, error) {
	l := &logFile{path: path, partial: map[string][]byte{}}
	if path == "" {
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	var err error
	l.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	return l, err
}

// reopen opens the path anew. The old file is kept when that fails.
func (l *logFile) reopen() error {
	if l.path == "" {
		return nil
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
	}
	l.file = file
	return nil
}

// write adds output of a stream. All lines of one call share one time and one
// write. A full disk loses the lines, never the container.
func (l *logFile) write(stream string, p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return
	}
	var buf [len(stamp)]byte
	now := time.Now().UTC().AppendFormat(buf[:0], stamp)
	l.out = l.out[:0]
	rest := l.partial[stream]
	for len(p) > 0 {
		line, after, full := bytes.Cut(p, []byte{'\n'})
		for len(rest)+len(line) > maxLine {
			n := maxLine - len(rest)
			l.line(now, stream, 'P', rest, line[:n])
			rest, line = rest[:0], line[n:]
		}
		if full {
			l.line(now, stream, 'F', rest, line)
			rest = rest[:0]
		} else {
			rest = append(rest, line...)
		}
		p = after
	}
	if cap(rest) > 0 && len(rest) == 0 {
		rest = nil // a quiet container holds no memory
	}
	l.partial[stream] = rest
	l.flush()
}

// end writes what a stream left without a newline.
func (l *logFile) end(stream string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.partial[stream]
	delete(l.partial, stream)
	if len(rest) == 0 || l.file == nil {
		return
	}
	l.out = l.out[:0]
	l.line(time.Now().UTC().AppendFormat(nil, stamp), stream, 'P', rest, nil)
	l.flush()
}

func (l *logFile) line(now []byte, stream string, tag byte, a, b []byte) {
	l.out = append(l.out, now...)
	l.out = append(l.out, ' ')
	l.out = append(l.out, stream...)
	l.out = append(l.out, ' ', tag, ' ')
	l.out = append(l.out, a...)
	l.out = append(l.out, b...)
	l.out = append(l.out, '\n')
}

func (l *logFile) flush() {
	l.file.Write(l.out)
	l.out = nil
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}
