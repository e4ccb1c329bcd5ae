package connect

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// Channels of a WebSocket under v5.channel.k8s.io, by number.
const (
	stdin = iota
	stdout
	stderr
	status
	resize
	channels
)

// translate connects a WebSocket of v5.channel.k8s.io to a kubelet's SPDY of
// v4.channel.k8s.io: each channel is a stream, and what goes through them, the
// final status included, has the same form on both sides. What the fifth
// version added is a way to close stdin, which SPDY always had.
func (k *Connector) translate(w http.ResponseWriter, r *http.Request, c *Request, l kubelet, to *url.URL, s streams) error {
	if err := hijackable(w, r); err != nil {
		return err
	}
	// The kubelet first: as long as the client's protocol has not been
	// switched, an error can be told in full.
	raw, declined, err := k.upgrade(r.Context(), l, to, "v4.channel.k8s.io")
	if err != nil {
		return unreachable(err)
	}
	if declined != nil {
		defer declined.Body.Close()
		return refusal(declined, pods, c.Name)
	}
	defer raw.Close()
	server, err := spdy.NewClientConnection(raw)
	if err != nil {
		return unreachable(err)
	}
	defer server.Close()
	far, err := s.open(server)
	if err != nil {
		return unreachable(err)
	}

	kinds := make([]wsstream.ChannelType, channels)
	for i, kind := range map[int]wsstream.ChannelType{
		stdin: wsstream.ReadChannel, stdout: wsstream.WriteChannel, stderr: wsstream.WriteChannel, resize: wsstream.ReadChannel,
	} {
		if far[i] != nil {
			kinds[i] = kind
		}
	}
	// Clients write nothing here: to read it is to learn that one is gone.
	kinds[status] = wsstream.ReadWriteChannel
	client := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		"v5.channel.k8s.io": {Binary: true, Channels: kinds},
	})
	_, near, err := client.Open(w, r)
	if err != nil {
		// The handshake has answered the client, who sent it wrong.
		k.Logger.Debug("client's upgrade failed", "error", err)
		return nil
	}
	defer client.Close()
	stop := context.AfterFunc(r.Context(), func() { server.Close(); client.Close() })
	defer stop()
	go func() {
		io.Copy(io.Discard, near[status])
		server.Close()
	}()
	for _, i := range []int{stdin, resize} {
		if far[i] != nil {
			go func() {
				io.Copy(far[i], near[i])
				far[i].Close()
			}()
		}
	}
	// It is over when the kubelet has told how it ended, and all that the
	// process wrote has been passed on; or when the client is gone.
	var output sync.WaitGroup
	for _, i := range []int{stdout, stderr, status} {
		if far[i] == nil {
			continue
		}
		output.Go(func() {
			if _, err := io.Copy(near[i], far[i]); err != nil {
				server.Close()
			}
		})
	}
	output.Wait()
	return nil
}

// open makes the streams, in the order that kubelets expect.
func (s streams) open(conn httpstream.Connection) ([channels]httpstream.Stream, error) {
	var made [channels]httpstream.Stream
	for _, o := range []struct {
		channel int
		wanted  bool
		name    string
	}{
		{status, true, corev1.StreamTypeError},
		{stdin, s.stdin, corev1.StreamTypeStdin},
		{stdout, s.stdout, corev1.StreamTypeStdout},
		{stderr, s.stderr, corev1.StreamTypeStderr},
		{resize, s.tty, corev1.StreamTypeResize},
	} {
		if !o.wanted {
			continue
		}
		stream, err := conn.CreateStream(http.Header{corev1.StreamType: {o.name}})
		if err != nil {
			return made, err
		}
		made[o.channel] = stream
	}
	// Nothing is written to these.
	for _, i := range []int{status, stdout, stderr} {
		if made[i] != nil {
			if err := made[i].Close(); err != nil {
				return made, err
			}
		}
	}
	return made, nil
}
