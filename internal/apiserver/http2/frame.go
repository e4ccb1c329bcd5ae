package http2

import (
	"golang.org/x/net/http2"
)

// mostSettings bounds what one frame may ask for.
const mostSettings = 100

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
		c.end() // it waits for those streams that it has
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
	if f.NumSettings() > mostSettings {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	window := int64(-1) // of several, what the last says comes to
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.out.tableSize(s.Val)
		case http2.SettingInitialWindowSize:
			window = int64(s.Val)
		}
		return nil
	})
	if err == nil && window >= 0 {
		err = c.changeWindows(window)
	}
	if err != nil {
		return err
	}
	return c.out.settingsAck()
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
		if st == nil && c.unaware(f.StreamID) {
			return nil
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
		st.body.put(p)
		kept = int64(len(p))
	}
	c.grant(st, size-kept)
	if f.StreamEnded() {
		c.receivedAll(st)
	} else if kept > 0 {
		st.changed.Broadcast()
	}
	return nil
}
