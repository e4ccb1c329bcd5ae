package memory

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// dropProgram unmaps the pages of the program's own file. The system keeps
// them cached, as pages of any file, for as long as it has no better use for
// them; those that are used again come back one by one. Most of what a start
// has touched is not. It returns how many bytes of mappings it dealt with.
func dropProgram() (dropped uintptr) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0
	}
	data, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0
	}
	for _, m := range readOnly(data, program) {
		if _, _, e := unix.Syscall(unix.SYS_MADVISE, m.begin, m.end-m.begin, unix.MADV_DONTNEED); e == 0 {
			dropped += m.end - m.begin
		}
	}
	return dropped
}

type mapping struct{ begin, end uintptr }

// readOnly returns the mappings of a file, from what smaps tells, that the
// process has never written to: nothing but the file is in them.
func readOnly(smaps []byte, file string) (all []mapping) {
	var m mapping
	candidate := false
	for line := range bytes.Lines(smaps) {
		f := bytes.Fields(line)
		if len(f) < 3 {
			continue
		}
		if from, to, ok := bytes.Cut(f[0], []byte("-")); ok {
			begin, err := strconv.ParseUint(string(from), 16, 64)
			end, err2 := strconv.ParseUint(string(to), 16, 64)
			at := bytes.IndexByte(line, '/')
			candidate = err == nil && err2 == nil && at >= 0 &&
				string(bytes.TrimRight(line[at:], "\n")) == file && bytes.IndexByte(f[1], 'w') < 0
			m = mapping{uintptr(begin), uintptr(end)}
			continue
		}
		if candidate && string(f[0]) == "Anonymous:" {
			if string(f[1]) == "0" {
				all = append(all, m)
			}
			candidate = false
		}
	}
	return all
}
