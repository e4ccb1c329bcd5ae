// Package logs reads container logs in CRI's format: one line a record, of a
// time, a stream, a tag and the text.
package logs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

// Options of a reading. The zero value is the whole log.
type Options struct {
	Follow     bool
	Since      time.Time
	Timestamps bool
	// Tail is how many lines from the end, or -1 for all.
	Tail int64
	// Limit on bytes written, or -1.
	Limit int64
	// Stdout, Stderr choose the streams.
	Stdout, Stderr bool
}

// maxRecord bounds one record: the runtime splits longer lines.
const maxRecord = 1 << 20

var errLimit = errors.New("limit reached")

// record is one parsed line of the file.
type record struct {
	time    []byte
	stderr  bool
	partial bool
	text    []byte
}

// parse splits a line of the file. Its parts share memory with the line.
func parse(line []byte) (record, bool) {
	var r record
	stamp, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return r, false
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return r, false
	}
	tag, text, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return r, false
	}
	r.time, r.text = stamp, text
	r.stderr = string(stream) == "stderr"
	first, _, _ := bytes.Cut(tag, []byte{':'})
	r.partial = string(first) == "P"
	return r, true
}

// writer puts records out as Options want them.
type writer struct {
	out  io.Writer
	o    Options
	left int64
	// mid: the last record written was partial.
	mid bool
}

func (w *writer) put(b []byte) error {
	limited := false
	if w.o.Limit >= 0 && int64(len(b)) >= w.left {
		b, limited = b[:w.left], true
	}
	w.left -= int64(len(b))
	if _, err := w.out.Write(b); err != nil {
		return err
	}
	if limited {
		return errLimit
	}
	return nil
}

func (w *writer) line(line []byte) error {
	r, ok := parse(bytes.TrimSuffix(line, []byte{'\n'}))
	if !ok || r.stderr && !w.o.Stderr || !r.stderr && !w.o.Stdout {
		return nil
	}
	if !w.o.Since.IsZero() {
		if at, err := time.Parse(time.RFC3339Nano, string(r.time)); err == nil && at.Before(w.o.Since) {
			return nil
		}
	}
	if w.o.Timestamps && !w.mid {
		if err := w.put(r.time); err != nil {
			return err
		}
		if err := w.put([]byte{' '}); err != nil {
			return err
		}
	}
	w.mid = r.partial
	if err := w.put(r.text); err != nil {
		return err
	}
	if r.partial {
		return nil
	}
	return w.put([]byte{'\n'})
}

// tailOffset returns where the last n lines of a file begin. Records of one
// split line count once.
func tailOffset(f io.ReaderAt, size, n int64) (int64, error) {
	if n < 0 {
		return 0, nil
	}
	if n == 0 {
		return size, nil
	}
	const block = 32 << 10
	buf := make([]byte, block)
	// Going back, each newline ends a record; the record after it is looked
	// at when its beginning is known.
	end, lines := size, int64(0)
	starts := size // beginning of the line found last
	for end > 0 {
		begin := max(end-block, 0)
		b := buf[:end-begin]
		if _, err := f.ReadAt(b, begin); err != nil && err != io.EOF {
			return 0, err
		}
		for i := len(b) - 1; i >= 0; i-- {
			at := begin + int64(i)
			if b[i] != '\n' || at == size-1 {
				continue
			}
			full, err := endsLine(f, at+1, starts)
			if err != nil {
				return 0, err
			}
			if full {
				if lines++; lines > n {
					return starts, nil
				}
			}
			starts = at + 1
		}
		end = begin
	}
	full, err := endsLine(f, 0, starts)
	if err != nil {
		return 0, err
	}
	if full && lines+1 > n {
		return starts, nil
	}
	return 0, nil
}

// endsLine tells whether the record in [from, to) is the last of its line.
func endsLine(f io.ReaderAt, from, to int64) (bool, error) {
	head := make([]byte, min(to-from, 64))
	if _, err := f.ReadAt(head, from); err != nil && err != io.EOF {
		return false, err
	}
	r, ok := parse(append(bytes.TrimSuffix(head, []byte{'\n'}), ' '))
	return !ok || !r.partial, nil
}

// Read writes what is in the log file when it is called: lines added while it
// is read are no part of its tail.
func Read(out io.Writer, path string, o Options) error {
	w := &writer{out: out, o: o, left: o.Limit}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	begin, end, err := w.bounds(f)
	if err == nil {
		_, err = w.copy(reader(io.NewSectionReader(f, begin, end-begin)), nil)
	}
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

// bounds returns where in the file the options begin, and its size now.
func (w *writer) bounds(f *os.File) (begin, end int64, err error) {
	if w.o.Limit == 0 {
		return 0, 0, errLimit
	}
	st, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	begin, err = tailOffset(f, st.Size(), w.o.Tail)
	return begin, st.Size(), err
}

func reader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 64<<10) }

// copy writes whole records; rest is the beginning of one that has not ended.
func (w *writer) copy(r *bufio.Reader, rest []byte) ([]byte, error) {
	for {
		b, err := r.ReadSlice('\n')
		if err == nil && len(rest) == 0 {
			if err := w.line(b); err != nil {
				return nil, err
			}
			continue
		}
		rest = append(rest, b...)
		switch {
		case err == nil:
			line := rest
			rest = rest[:0]
			if err := w.line(line); err != nil {
				return nil, err
			}
		case errors.Is(err, bufio.ErrBufferFull):
			if len(rest) > maxRecord {
				return nil, errors.New("log record is too long")
			}
		case errors.Is(err, io.EOF):
			return rest, nil
		default:
			return nil, err
		}
	}
}
