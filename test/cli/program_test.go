package cli

import (
	"bytes"
	"os"
	"testing"

	"clipper/test/cluster"
)

// The linker drops methods that nobody calls, but none once the program holds
// something that calls any method by its name, as templates do: a fifth of it.
func TestProgramHoldsOnlyWhatIsCalled(t *testing.T) {
	program, err := os.ReadFile(cluster.Program(t))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(program, []byte("k8s.io/api/core/v1.(*Pod).APILifecycleIntroduced")) {
		t.Error("a method that nobody calls is kept: build with -ldflags=-dumpdep and look for what leads to <ReflectMethod>")
	}
	if len(program) >= 90e6 {
		t.Errorf("the program has %d bytes, at most 90 MB are wanted", len(program))
	}
}
