# frozen_string_literal: true

require "fileutils"
require "shellwords"

# Runs site.yml once a `vagrant` command, over all machines, when the last of them is up.
#
# A provisioner runs for one machine, in parallel with those of others, and site.yml is about all of them. So the
# provisioner only notes that it was asked for, which leaves it to Vagrant when that is (at the first `up`, with
# `vagrant provision`, `--provision`, `--no-provision`), and the work is done as the command ends.
module CopytoolSite
  ROOT = File.expand_path("..", __dir__)
  PLAYBOOK = File.join(ROOT, ".venv/bin/ansible-playbook")
  INVENTORY = "inventory/vagrant"
  # The failures that people see, in one line each.
  class Failed < Vagrant::Errors::VagrantError
    def initialize(text)
      @text = text
      super({})
    end

    def error_message
      @text
    end
  end

  # What the command that runs now has come to.
  class << self
    attr_accessor :changed, :wanted
  end

  # Fails before a machine is made if it could not be provisioned.
  def self.require_ansible
    return if File.executable?(PLAYBOOK)

    raise Failed, "There is no #{PLAYBOOK}, which sets the machines up: run \"make setup\"."
  end

  class Provisioner < Vagrant.plugin("2", :provisioner)
    def provision
      CopytoolSite.wanted = true
    end
  end

  # The begin of what is done with a machine, after which it may have another address or port, or none.
  class Begin
    def initialize(app, _env)
      @app = app
    end

    def call(env)
      provisions = %i[machine_action_up machine_action_reload machine_action_provision].include?(env[:action_name])
      CopytoolSite.require_ansible if provisions && env[:provision_enabled] != false
      CopytoolSite.changed = true
      @app.call(env)
    end
  end

  # The end of the command.
  class Finish
    def initialize(app, _env)
      @app = app
    end

    def call(env)
      @app.call(env)
      # An error that ends the command is to be seen, and not hidden by another one.
      Lab.new(env[:env]).finish if CopytoolSite.changed && $!.nil?
    end
  end

  # The machines that there are.
  class Lab
    def initialize(environment)
      @environment = environment
      @running = environment.active_machines.filter_map do |name, provider|
        machine = environment.machine(name, provider)
        machine if machine.state.id == :running
      end
    end

    def finish
      write_ssh_config
      return unless CopytoolSite.wanted

      missing = @environment.machine_names - @running.map(&:name)
      if missing.empty?
        run_site
      else
        say "copytool: not set up yet, because #{missing.join(', ')} is not running. " \
            "When all machines are: vagrant provision"
      end
    end

    private

    def say(text)
      @environment.ui.info(text, prefix: false)
    end

    # For Ansible, Fabric and the tests alike: has the machines that run, and is not there without any.
    def write_ssh_config
      path = @environment.local_data_path.join("ssh_config")
      return FileUtils.rm_f(path) if @running.empty?

      texts = @running.sort_by { |machine| machine.name.to_s }.map { |machine| host_entry(machine) }
      beside = "#{path}.new"
      File.write(beside, "# Written by the Vagrantfile whenever a machine has started or stopped.\n\n#{texts.join("\n")}")
      File.rename(beside, path)
    end

    def host_entry(machine)
      info = machine.ssh_info or raise Failed, "#{machine.name} runs, but Vagrant knows no way to it."
      lines = ["Host #{machine.name}", "HostName #{info[:host]}", "Port #{info[:port]}", "User #{info[:username]}"]
      lines += Array(info[:private_key_path]).map { |key| "IdentityFile \"#{key}\"" }
      lines << "ProxyCommand #{info[:proxy_command]}" if info[:proxy_command]
      # Every machine that Vagrant makes has new keys, at an address that another one had before.
      lines += ["IdentitiesOnly yes", "StrictHostKeyChecking no", "UserKnownHostsFile /dev/null", "LogLevel ERROR"]
      "#{lines.join("\n    ")}\n"
    end

    def run_site
      command = [PLAYBOOK, "-i", INVENTORY, "site.yml", *ENV.fetch("COPYTOOL_ANSIBLE_ARGS", "").shellsplit]
      say "copytool: #{command.join(' ')}"
      colour = @environment.ui.is_a?(Vagrant::UI::Colored) ? { "ANSIBLE_FORCE_COLOR" => "1" } : {}
      options = { workdir: ROOT, notify: %i[stdout stderr], env: { "PYTHONUNBUFFERED" => "1", **colour } }
      result = Vagrant::Util::Subprocess.execute(*command, **options) do |_stream, text|
        @environment.ui.info(text, prefix: false, new_line: false)
      end
      return if result.exit_code.zero?

      raise Failed, "site.yml failed, see above. After putting that right: vagrant provision"
    end
  end

  class Plugin < Vagrant.plugin("2")
    name "copytool_site"
    provisioner(:copytool_site) { Provisioner }
    %i[up reload resume provision halt suspend destroy].each do |action|
      action_hook(:copytool_site, :"machine_action_#{action}") { |hook| hook.prepend(Begin) }
    end
    action_hook(:copytool_site, :environment_unload) { |hook| hook.append(Finish) }
  end
end
