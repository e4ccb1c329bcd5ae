package connect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

const (
	protocolV4 = "v4.channel.k8s.io"
	protocolV5 = "v5.channel.k8s.io"
)

// translate connects a WebSocket of v5.channel.k8s.io to a kubelet's SPDY of
// v4.channel.k8s.io: each channel is a stream, and what goes through them, the
// final status included, has the same form on both sides. What the fifth
// version added is a way to close stdin, which SPDY always had.
func (k *Connector) translate(w http.ResponseWriter, r *http.Request, l kubelet, to *url.URL, s streams) error {
	if err := hijackable(r); err != nil {
		return err
	}
	server, far, failed := k.open(r.Context(), l, to, s)
	if server != nil {
		defer server.Close()
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
		protocolV5: {Binary: true, Channels: kinds},
	})
	_, near, err := client.Open(lingering{w}, r)
	if err != nil {
		// The handshake has answered the client, who sent it wrong.
		k.Logger.Debug("client's upgrade failed", "error", err)
		return nil
	}
	defer client.Close()
	if failed != nil {
		// Told where the end of a process is told. A client that is refused the
		// protocol would try again with an older one.
		return json.NewEncoder(near[status]).Encode(apierrors.NewInternalError(failed).Status())
	}
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

// open makes the kubelet's side of a process's streams.
func (k *Connector) open(ctx context.Context, l kubelet, to *url.URL, s streams) (httpstream.Connection, [channels]httpstream.Stream, error) {
	var none [channels]httpstream.Stream
	raw, declined, err := k.upgradeKubelet(ctx, l, to, protocolV4)
	if err != nil {
		return nil, none, fmt.Errorf("error dialing backend: %w", err)
	}
	if raw == nil {
		defer declined.Body.Close()
		return nil, none, fmt.Errorf("unable to upgrade connection: %s", words(declined))
	}
	conn, err := spdy.NewClientConnection(raw)
	if err != nil {
		raw.Close()
		return nil, none, fmt.Errorf("error dialing backend: %w", err)
	}
	made, err := s.create(conn)
	if err != nil {
		conn.Close()
		return nil, none, fmt.Errorf("error dialing backend: %w", err)
	}
	return conn, made, nil
}

// create makes the streams, in the order that kubelets expect.
func (s streams) create(conn httpstream.Connection) ([channels]httpstream.Stream, error) {
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
	return made, nil
}
