package connect

import (
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// streams are which streams of a process a client wants.
type streams struct{ stdin, stdout, stderr, tty bool }

func (k *Connector) exec(w http.ResponseWriter, r *http.Request, c *Request) error {
	query := r.URL.Query()
	if len(query["command"]) == 0 {
		return apierrors.NewBadRequest("you must specify at least 1 command for the container")
	}
	return k.process(w, r, c, "/exec/", query, url.Values{"command": query["command"]})
}

func (k *Connector) attach(w http.ResponseWriter, r *http.Request, c *Request) error {
	return k.process(w, r, c, "/attach/", r.URL.Query(), url.Values{})
}

// process connects a client to the streams of a process in a container.
func (k *Connector) process(w http.ResponseWriter, r *http.Request, c *Request, path string, query, ask url.Values) error {
	pod, err := k.pod(c)
	if err != nil {
		return err
	}
	name, err := container(pod, query.Get("container"))
	if err != nil {
		return err
	}
	s := streams{stdin: truth(query["stdin"]), stdout: truth(query["stdout"]), stderr: truth(query["stderr"]), tty: truth(query["tty"])}
	if !s.stdin && !s.stdout && !s.stderr {
		return apierrors.NewBadRequest("you must specify at least 1 of stdin, stdout, stderr")
	}
	// A terminal has one output.
	s.stderr = s.stderr && !s.tty
	l, err := k.host(pod)
	if err != nil {
		return err
	}
	for parameter, wanted := range map[string]bool{"input": s.stdin, "output": s.stdout, "error": s.stderr, "tty": s.tty} {
		if wanted {
			ask.Set(parameter, "1")
		}
	}
	to := l.url(path+podPath(pod)+"/"+name, ask)
	if wantsProtocol(r, protocolV5) {
		return k.translate(w, r, l, to, s)
	}
	return k.passUpgrade(w, r, k.kubeletDialer(l), to, to.Host, passed(r))
}

func podPath(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }
