# bash completion for pmemstream(1)

_pmemstream_labels()
{
	local file
	for file in "${COMP_WORDS[@]:2}"; do
		[[ -f $file ]] || continue
		# Labels that need no quoting in JSON; one to a line.
		pmemstream region ls "$file" --json 2>/dev/null | sed -n 's/^ *{"label":"\([^"\\]*\)",.*/\1/p'
		return
	done
}

_pmemstream()
{
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
	local options='' verbs='' files=yes IFS=$'\n'

	# bash cuts --option=value into three words.
	[[ $previous == '=' ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
	[[ $word == '=' ]] && previous=${COMP_WORDS[COMP_CWORD - 1]} word=''
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		IFS=$' \n'
		COMPREPLY=($(compgen -W 'create region append cat tail info check repair dump bench log convert --help --version' -- "$word"))
		return
	fi
	case $previous in
	--align) verbs='auto 8 64' files='' ;;
	--durability) verbs='each batch close' files='' ;;
	--format) verbs='text json raw length-prefixed' files='' ;;
	-r | --region)
		COMPREPLY=($(compgen -W "$(_pmemstream_labels)" -- "$word"))
		return
		;;
	--svg) ;;
	-s | --size | --block-size | --create | -n | --count | --since | --until | -o | --offset | -d | --delimiter | -t | --threads | --seconds | --space)
		return # a number, a size, a byte: nothing to offer
		;;
	*)
		case $command in
		create) options='--size --block-size --align' ;;
		region) options='--size --json' verbs='add rm ls' ;;
		append) options='--region --create --delimiter --length-prefixed --whole --durability --acknowledge --progress --json' ;;
		cat) options='--region --since --until --count --format --labels' ;;
		tail) options='--count --follow --region --format --labels' ;;
		info) options='--ascii --json' ;;
		check) options='--deep --json' ;;
		repair) options='--yes --dry-run' ;;
		dump) options='--offset --json' ;;
		bench) options='--size --threads --durability --seconds --space --histogram --svg --json' ;;
		log) options='--size --json' verbs='create append cat info check rewind' ;;
		convert) options='--region --delimiter --length-prefixed --whole' ;;
		esac
		options+=' --help'
		if [[ $word == -* ]]; then
			verbs=$options files=''
		elif ((COMP_CWORD == 2)) && [[ $verbs ]]; then
			files=''
		else
			verbs=''
		fi
		;;
	esac
	if [[ $verbs ]]; then
		IFS=$' \n'
		COMPREPLY=($(compgen -W "$verbs" -- "$word"))
	elif [[ $files ]]; then
		COMPREPLY=($(compgen -f -- "$word"))
	fi
}

complete -o filenames -F _pmemstream pmemstream
