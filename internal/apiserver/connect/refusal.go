package connect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// refusalMost bounds what is read of a kubelet's words, in bytes.
const refusalMost = 4 << 10

// refusal makes an API error of an answer that was to be something else. The
// kubelet's words are the message.
func refusal(response *http.Response, resource schema.GroupResource, name string) error {
	text := words(response)
	switch response.StatusCode {
	case http.StatusInternalServerError:
		return apierrors.NewInternalError(errors.New(text))
	case http.StatusBadRequest:
		return apierrors.NewBadRequest(text)
	}
	return apierrors.NewGenericServerResponse(response.StatusCode, "", resource, name, text, 0, false)
}

// words returns what an answer says.
func words(response *http.Response) string {
	body, err := io.ReadAll(io.LimitReader(response.Body, refusalMost))
	if err != nil && len(body) == 0 {
		return err.Error()
	}
	return strings.TrimSpace(string(body))
}

// unreachable is the error of a backend that could not be asked.
func unreachable(err error) error {
	return apierrors.NewInternalError(fmt.Errorf("error dialing backend: %w", err))
}

// closing is a body whose connection is closed with it.
type closing struct {
	io.ReadCloser
	conn net.Conn
}

func (c *closing) Close() error { return errors.Join(c.ReadCloser.Close(), c.conn.Close()) }
