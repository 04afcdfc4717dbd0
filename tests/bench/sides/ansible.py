"""Ansible: the tool that such recoveries are scripted with most."""

import json

from . import Job, Side

VERSION = "2.19.14"


class Ansible(Side):
    name = f"Ansible {VERSION}"
    durable = "nothing; it cannot go on with a play that was cut off"
    # At 0.4 s a task.
    largest = 20
    is_parallel = False

    def install(self, cache):
        self.programs = cache.pip("ansible-core", VERSION)

    def prepare(self, place, steps, parallel):
        tasks = [{"name": step.name, "ansible.builtin.shell": step.command} for step in steps]
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
        # JSON is YAML.
        (place / "play.yaml").write_text(json.dumps([play]))
        home = {"ANSIBLE_HOME": str(place / "home"), "ANSIBLE_LOCAL_TEMP": str(place / "tmp")}
        interpreter = f"ansible_python_interpreter={self.programs / 'python'}"
        argv = [str(self.programs / "ansible-playbook"), "-i", "localhost,", "-e", interpreter, "play.yaml"]
        return Job(argv, place, home)
