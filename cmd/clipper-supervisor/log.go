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
	path    string
	buffers *buffers

	mu      sync.Mutex
	file    *os.File          // nil when there is no log
	partial map[string][]byte // by stream, the beginning of an unfinished line
}

const logFlags = os.O_CREATE | os.O_WRONLY | os.O_APPEND

func openLog(path string, b *buffers) (*logFile, error) {
	l := &logFile{path: path, buffers: b, partial: map[string][]byte{}}
	if path == "" {
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	var err error
	l.file, err = os.OpenFile(path, logFlags, 0o640)
	return l, err
}

// reopen opens the path anew. The old file is kept when that fails.
func (l *logFile) reopen() error {
	if l.path == "" {
		return nil
	}
	file, err := os.OpenFile(l.path, logFlags, 0o640)
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
	out := l.buffers.write.Get().(*[]byte)
	defer l.buffers.write.Put(out)
	*out = (*out)[:0]
	var stampBuf [len(stamp)]byte
	now := time.Now().UTC().AppendFormat(stampBuf[:0], stamp)
	rest := l.partial[stream]
	for len(p) > 0 {
		line, after, full := bytes.Cut(p, []byte{'\n'})
		for len(rest)+len(line) > maxLine {
			n := maxLine - len(rest)
			*out = appendLine(*out, now, stream, 'P', rest, line[:n])
			rest, line = rest[:0], line[n:]
		}
		if full {
			*out = appendLine(*out, now, stream, 'F', rest, line)
			rest = rest[:0]
		} else {
			rest = append(rest, line...)
		}
		p = after
	}
	if len(rest) == 0 {
		delete(l.partial, stream)
	} else {
		l.partial[stream] = rest
	}
	l.file.Write(*out)
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
	now := time.Now().UTC().AppendFormat(nil, stamp)
	l.file.Write(appendLine(nil, now, stream, 'P', rest, nil))
}

func appendLine(out, now []byte, stream string, tag byte, a, b []byte) []byte {
	out = append(out, now...)
	out = append(out, ' ')
	out = append(out, stream...)
	out = append(out, ' ', tag, ' ')
	out = append(out, a...)
	out = append(out, b...)
	return append(out, '\n')
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}
