// Package guide plays the guide's chapters: its manifests unchanged, its
// commands as a user types them, one script a chapter, each on a cluster of its
// own. Package script lists the commands that scripts have besides testscript's.
package guide

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"clipper/test/cluster"
	"clipper/test/script"
)

func TestChapters(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	// Clipper's own kubectl, by a link of that name; and upstream's, if given.
	kubectls := map[string]string{"clipper": cluster.Program(t)}
	if upstream := os.Getenv("UPSTREAM_KUBECTL"); upstream != "" {
		kubectls["upstream"] = upstream
	}
	manifests, err := filepath.Abs("manifests")
	if err != nil {
		t.Fatal(err)
	}
	for who, program := range kubectls {
		for _, file := range scripts {
			name := strings.TrimSuffix(filepath.Base(file), ".txtar")
			t.Run(who+"/"+name, func(t *testing.T) {
				c := cluster.Start(t)
				c.LoadImages()
				testscript.Run(t, testscript.Params{
					Files: []string{file},
					Setup: func(env *testscript.Env) error {
						script.Setup(env, c, program)
						return os.CopyFS(filepath.Join(env.WorkDir, "guide"), os.DirFS(manifests))
					},
					Cmds: script.Commands,
				})
			})
		}
	}
}
