package supervisor

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func pair(t testing.TB) (a, b Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ends[i] = Conn{c.(*net.UnixConn)}
	}
	return ends[0], ends[1]
}

func TestFramesAndFiles(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	large := strings.Repeat("x", 1<<20)
	go func() {
		a.Send(large)
		a.Send("with a file", w)
		w.Close()
		a.Send("last")
		a.Close()
	}()
	var got string
	if fds, err := b.Receive(&got); err != nil || got != large || len(fds) != 0 {
		t.Fatalf("%d bytes, %v, %v", len(got), fds, err)
	}
	fds, err := b.Receive(&got)
	if err != nil || got != "with a file" || len(fds) != 1 {
		t.Fatalf("%q %v %v", got, fds, err)
	}
	f := File(fds[0], "w")
	f.WriteString("hello")
	f.Close()
	if all, err := io.ReadAll(r); err != nil || string(all) != "hello" {
		t.Errorf("%q %v", all, err)
	}
	if fds, err := b.Receive(&got); err != nil || got != "last" || len(fds) != 0 {
		t.Errorf("%q %v %v", got, fds, err)
	}
	if _, err := b.Receive(&got); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestFramesAreBounded(t *testing.T) {
	a, b := pair(t)
	if err := a.Send(strings.Repeat("x", MaxFrame)); err == nil {
		t.Error("a frame above the limit was sent")
	}
	var header [4]byte
	binary.BigEndian.PutUint32(header[:], MaxFrame+1)
	a.Write(header[:])
	var got string
	if _, err := b.Receive(&got); err == nil || !strings.Contains(err.Error(), "above the limit") {
		t.Errorf("received: %v", err)
	}
}

// Files beside a frame that is refused are not kept open.
func TestFilesOfBadFramesAreClosed(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		a.WriteMsgUnix([]byte("\x00\x00\x00\x01{"), unix.UnixRights(int(w.Fd())), nil)
		w.Close()
	}()
	var got string
	if _, err := b.Receive(&got); err == nil {
		t.Fatal("a bad frame was taken")
	}
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := pair(t)
		go func() {
			a.Write(data)
			a.CloseWrite()
		}()
		for {
			var req Request
			if _, err := b.Receive(&req); err != nil {
				return
			}
		}
	})
}

// fake answers one call after another with what answer says.
func fake(t *testing.T, answer func(Request, Conn)) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var req Request
				if _, err := (Conn{c}).Receive(&req); err == nil {
					answer(req, Conn{c})
				}
			}()
		}
	}()
	return &Client{Socket: path}
}

func TestClient(t *testing.T) {
	ctx := context.Background()
	t.Run("a supervisor of another version", func(t *testing.T) {
		c := fake(t, func(req Request, conn Conn) {
			if req.Version != Version {
				t.Errorf("version %d", req.Version)
			}
			if req.Method != MethodInfo {
				conn.Send(Reply{Error: &Error{Code: CodeUnimplemented, Message: "what?"}})
				return
			}
			conn.Send(json.RawMessage(`{"body":{"version":7,"pid":3,"unheardOf":{"x":1}},"more":true}`))
		})
		if info, err := c.Info(ctx); err != nil || info.Version != 7 || info.PID != 3 {
			t.Errorf("%v %v", info, err)
		}
		_, err := c.Start(ctx, "x")
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeUnimplemented {
			t.Error(err)
		}
		c.Prepare(ctx) // never fails
	})
	t.Run("errors keep their kind", func(t *testing.T) {
		c := fake(t, func(_ Request, conn Conn) {
			conn.Send(Reply{Error: &Error{Code: CodeNotFound, Message: `no container "x"`}})
		})
		if _, err := c.Start(ctx, "x"); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrNotRunning) {
			t.Error(err)
		}
	})
	t.Run("one that hangs up", func(t *testing.T) {
		c := fake(t, func(Request, Conn) {})
		if _, err := c.Start(ctx, "x"); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	})
	t.Run("one that hangs", func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		c := fake(t, func(Request, Conn) { <-release })
		ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if _, err := c.Start(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		c := &Client{Socket: filepath.Join(t.TempDir(), "none")}
		if _, err := c.Info(ctx); err == nil || !strings.Contains(err.Error(), "reaching the supervisor") {
			t.Error(err)
		}
	})
	t.Run("watch", func(t *testing.T) {
		c := fake(t, func(_ Request, conn Conn) {
			send := func(v any) {
				raw, _ := json.Marshal(v)
				conn.Send(Reply{Body: raw})
			}
			send([]State{{ID: "a", Phase: Running}})
			send(State{ID: "a", Phase: Exited, Exit: ExitStatus{Code: 3}})
		})
		var log bytes.Buffer
		err := c.Watch(ctx, func(s []State) { log.WriteString(s[0].ID + string(s[0].Phase)) }, func(s State) { log.WriteString(string(s.Phase)) })
		if log.String() != "arunningexited" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q %v", log.String(), err)
		}
	})
}
