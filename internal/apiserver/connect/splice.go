package connect

import (
	"errors"
	"io"
	"net"
)

// splice copies both ways until the server is done or the client is gone.
//
// What the server sends before it ends is passed on whole, even if it no longer
// takes what the client sends: the end of an exec often crosses the end of its
// input.
func splice(client, server net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.Copy(sink{server}, client)
		var refused *refused
		switch {
		case errors.As(err, &refused): // the server is about to end
		case err == nil:
			if half, ok := server.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
				return
			}
			server.Close()
		default:
			server.Close()
		}
	}()
	io.Copy(client, server)
	client.Close()
	server.Close()
	<-done
}

// sink tells errors of writing apart from errors of reading.
type sink struct{ w io.Writer }

type refused struct{ error }

func (s sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		err = &refused{err}
	}
	return n, err
}
