package http2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// recorded is a connection on which the client has said all it will.
type recorded struct {
	net.Conn // nil
	said     io.Reader

	mu    sync.Mutex
	heard bytes.Buffer
}

func (c *recorded) Read(p []byte) (int, error) { return c.said.Read(p) }
func (c *recorded) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard.Write(p)
}
func (c *recorded) Close() error                    { return nil }
func (c *recorded) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
func (c *recorded) SetReadDeadline(time.Time) error { return nil }

// FuzzServer has clients say anything: the server and its handlers end, and what
// it says are frames, none of a stream that has ended.
func FuzzServer(f *testing.F) {
	for _, script := range dialogues {
		var b bytes.Buffer
		c := newComposer(&b, nil)
		_ = c.WriteSettings()
		for line := range strings.Lines(script) {
			if said, ok := strings.CutPrefix(strings.TrimSpace(line), "> "); ok {
				if err := c.send(said); err != nil {
					f.Fatal(err)
				}
			}
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		c := config()
		c.MaxStreams = 3
		h := &counted{Handler: answers()}
		client := &recorded{said: io.MultiReader(strings.NewReader(http2.ClientPreface), bytes.NewReader(said))}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s := newServer(c)
			s.serve(context.Background(), client, nil, nil, h)
			h.wait()
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("it hangs")
		}
		client.mu.Lock()
		defer client.mu.Unlock()
		r := http2.NewFramer(nil, &client.heard)
		r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		over := map[uint32]bool{}
		for {
			f, err := r.ReadFrame()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			id := f.Header().StreamID
			switch f := f.(type) {
			case *http2.MetaHeadersFrame:
				if over[id] {
					t.Fatalf("%v after the end", f)
				}
				over[id] = f.StreamEnded()
			case *http2.DataFrame:
				if over[id] {
					t.Fatalf("%v after the end", f)
				}
				over[id] = f.StreamEnded()
			case *http2.RSTStreamFrame:
				over[id] = true
			}
		}
	})
}
