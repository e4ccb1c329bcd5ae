package http2

import (
	"io"

	"golang.org/x/net/http2"
)

// frame handles one frame of the client's. Errors are http2.ConnectionErrors
// and http2.StreamErrors.
func (c *conn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		return c.grow(f)
	case *http2.RSTStreamFrame:
		return c.abandoned(f)
	case *http2.PingFrame:
		if f.IsAck() {
			return nil // that something came is all that was asked
		}
		return c.out.pong(f.Data)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.GoAwayFrame:
		// It opens no more streams, and waits for those it has.
		c.mu.Lock()
		c.leaving = true
		bye := c.running == 0
		c.mu.Unlock()
		if bye {
			return io.EOF
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // unknown frames are to be ignored
}

// settings takes over what the client wants.
func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if f.NumSettings() > 100 || f.HasDuplicates() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.out.tableSize(s.Val)
		case http2.SettingInitialWindowSize:
			return c.firstWindow(int64(s.Val))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.out.settingsAck()
}

// firstWindow changes the windows of all streams by what the first one changed
// (RFC 9113, 6.9.2).
func (c *conn) firstWindow(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := n - c.firstSend
	c.firstSend = n
	for _, st := range c.streams {
		if st.sendWindow += by; st.sendWindow > mostWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
	}
	c.opened.Broadcast()
	return nil
}

// grow lets more be sent.
func (c *conn) grow(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	window := &c.sendWindow
	if id := f.StreamID; id != 0 {
		st := c.streams[id]
		if st == nil {
			if id > c.last || id%2 == 0 {
				return http2.ConnectionError(http2.ErrCodeProtocol)
			}
			return nil // it may not know yet that the stream is over
		}
		window = &st.sendWindow
	}
	if *window += int64(f.Increment); *window > mostWindow {
		if f.StreamID != 0 {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
		}
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.opened.Broadcast()
	return nil
}

// abandoned ends a stream that the client no longer wants.
func (c *conn) abandoned(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID > c.last || f.StreamID%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if st := c.streams[f.StreamID]; st != nil {
		c.drop(st, http2.StreamError{StreamID: st.id, Code: f.ErrCode})
	}
	return nil
}

// data adds to a request's body.
func (c *conn) data(f *http2.DataFrame) error {
	size := int64(f.Length) // with its padding
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > c.recvWindow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.recvWindow -= size
	st := c.streams[f.StreamID]
	if st == nil || st.received {
		c.grant(nil, size)
		if f.StreamID > c.last || f.StreamID%2 == 0 {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if st == nil && c.wasReset(f.StreamID) {
			return nil // it does not know yet
		}
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	if size > st.recvWindow {
		c.grant(nil, size)
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	st.recvWindow -= size
	p := f.Data()
	st.came += int64(len(p))
	if st.declared >= 0 && (st.came > st.declared || f.StreamEnded() && st.came < st.declared) {
		c.grant(nil, size)
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	}
	kept := int64(0)
	if !st.unwanted {
		st.body = append(st.body, p...)
		kept = int64(len(p))
	}
	c.grant(st, size-kept)
	if f.StreamEnded() {
		c.receivedAll(st)
	}
	st.wake()
	return nil
}
