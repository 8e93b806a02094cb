"""Names of PyTorch's that programs import more often than they call, which lazygrad lacks: each exists, and
says why it does nothing when it is used."""

from __future__ import annotations

from typing import Any

from lazygrad.inert.kinds import kind, refused

# by what is missing, and by module; "" is the root
_NAMES: dict[str, dict[str, str]] = {
    "archive": {
        "package": (
            "Directory EmptyMatchError GlobGroup Importer ObjMismatchError ObjNotFoundError "
            "OrderedImporter PackagingError is_from_package sys_importer"
        ),
        "serialization": (
            "StorageType check_module_version_greater_or_equal mkdtemp normalize_storage_type skip_data "
            "storage_to_tensor_type validate_cuda_device validate_hpu_device"
        ),
    },
    "device": {
        "accelerator": "Graph get_device_capability get_memory_info",
        "accelerator.memory": "get_memory_info",
        "backends.cusparselt": "get_max_alg_id",
        "cuda": (
            "CUDAPluggableAllocator ComplexDoubleStorage ComplexFloatStorage CudaError "
            "DeferredCudaCallError ExternalStream GreenContext caching_allocator_alloc "
            "change_current_allocator cudaStatus cudart current_blas_handle current_solver_handle "
            "get_stream_from_external"
        ),
        "cuda.amp": "amp_definitely_not_available",
        "cuda.gds": "GdsFile gds_deregister_buffer gds_register_buffer",
        "cuda.graphs": "graph_pool_handle is_current_stream_capturing make_graphed_callables",
        "cuda.memory": "CUDAPluggableAllocator caching_allocator_alloc change_current_allocator",
        "cuda.nccl": "all_gather all_reduce broadcast init_rank reduce reduce_scatter unique_id",
        "cuda.streams": "ExternalStream",
        "mps": "compile_shader load_metallib",
        "mtia": (
            "DeferredMtiaCallError MTIAGraph get_device_capability get_device_properties graph "
            "graph_pool_handle"
        ),
        "utils.backend_registration": "generate_methods_for_privateuse1_backend rename_privateuse1_backend",
        "xpu": (
            "XPUGraph XPUPluggableAllocator change_current_allocator get_device_capability "
            "get_device_name get_device_properties get_per_process_memory_fraction "
            "get_stream_from_external graph graph_pool_handle make_graphed_callables mem_get_info"
        ),
    },
    "dispatch": {
        "overrides": "redispatch_function",
        "utils._mode_utils": "all_same_mode no_dispatch",
        "utils._python_dispatch": (
            "AliasInfo BaseTorchDispatchMode SchemaInfo TensorWithFlatten TraceableWrapperSubclass "
            "autograd_would_have_decomposed get_alias_info "
            "is_in_any_mode_without_ignore_compile_internals return_and_correct_aliasing "
            "set_is_in_mode_without_ignore_compile_internals transform_subclass"
        ),
    },
    "functional_optim": {
        "optim": "swap_in_optimizer_params_and_state",
        "optim._functional": (
            "adadelta adagrad adam adamax adamw asgd nadam radam rmsprop rprop sgd sparse_adam"
        ),
    },
    "graph": {
        "_decomp": (
            "_should_decompose_because_unsafe_op core_aten_decompositions decomposition_table "
            "get_decompositions meta_table pre_autograd_decomposition_table register_decomposition "
            "remove_decompositions"
        ),
        "_dynamo": (
            "allow_c_slot explain export lookup_backend optimize_assert override_cudagraphs "
            "override_optimization_hint replay step_unsupported substitute_in_graph"
        ),
        "_functorch.apis": "chunk_vmap exposed_in vmap_impl",
        "_higher_order_ops": (
            "BaseHOP InvokeQuant _foreach_map aoti_call_delegate auto_functionalized "
            "auto_functionalized_v2 call_torchbind dynamo_bypassing_wrapper executorch_call_delegate "
            "flat_apply flex_attention flex_attention_backward foreach_map hints_wrapper "
            "inductor_compiled_code inline_asm_elementwise invoke_leaf_function invoke_quant "
            "invoke_quant_packed invoke_subgraph local_map_hop map out_dtype print register_hook "
            "run_const_graph strict_mode tag_activation_checkpoint while_loop_stack_output with_effects "
            "wrap_activation_checkpoint wrap_with_autocast wrap_with_set_grad_enabled"
        ),
        "_inductor": "aot_compile aoti_compile_and_package aoti_load_package compile standalone_compile",
        "_library": "capture_triton register_fake_class triton_op wrap_triton",
        "_ops": (
            "HigherOrderOperator OpOverload OpOverloadPacket OperatorBase TorchBindOpOverload "
            "TorchDispatchMode TransformType add_cached_op cached_ops dispatch_functorch dl_open_guard "
            "get_cached_ops is_included_in_alias key_extractor mode_stack_state_for_pre_dispatch "
            "reset_cached_ops resolve_key unset_mode_pre_dispatch"
        ),
        "autograd.forward_ad": "enter_dual_level exit_dual_level",
        "compiler": "compile load_compiled_function",
        "export": (
            "AdditionalInputs Constraint CustomDecompTable ExportBackwardSignature ExportGraphSignature "
            "ExportedProgram FlatArgsAdapter ModuleCallEntry ModuleCallSignature ShapesCollection "
            "UnflattenedModule default_decompositions dims draft_export register_dataclass"
        ),
        "export.dynamic_shapes": (
            "AdditionalInputs Constraint Dim ShapesCollection dims "
            "refine_dynamic_shapes_from_suggested_fixes"
        ),
        "export.graph_signature": (
            "ConstantArgument CustomObjArgument ExportBackwardSignature ExportGraphSignature InputKind "
            "InputSpec OutputKind OutputSpec SymBoolArgument SymFloatArgument SymIntArgument "
            "TensorArgument TokenArgument"
        ),
        "export.unflatten": (
            "FlatArgsAdapter InterpreterModule InterpreterModuleDispatcher UnflattenedModule unflatten"
        ),
        "func": "debug_unwrap rearrange",
        "fx": "map_arg",
        "fx.experimental.symbolic_shapes": (
            "CURRENT_NODE_KEY CallMethodKey Constraint ConstraintViolationError ConvertIntKey "
            "DimConstraints DimDynamic DivideByKey DynamicDimConstraintPrinter EqualityConstraint "
            "GuardOnDataDependentSymNode InnerTensorKey LoggingShapeGuardPrinter "
            "PendingUnbackedSymbolNotFound PropagateUnbackedSymInts RelaxedUnspecConstraint RuntimeAssert "
            "SHAPEENV_EVENT_KEY SYMPY_INTERP ShapeEnvSettings ShapeGuardPrinter ShapeGuardPythonPrinter "
            "Specialization StatefulSymbolicContext StatelessSymbolicContext StrictMinMaxConstraint "
            "SubclassSymbolicContext SymExprPrinter SymIntEqByExpr SymIntSymbolicContext SymbolicContext "
            "TrackedFake ValueRangesSLoc bind_symbols canonicalize_bool_expr "
            "cast_symbool_to_symint_guardless check_consistent compute_unbacked_bindings constrain_range "
            "constrain_unify create_contiguous error eval_guards eval_is_non_overlapping_and_dense "
            "expect_true find_symbol_binding_fx_nodes free_symbols free_unbacked_symbols "
            "fx_placeholder_targets fx_placeholder_vals guard_bool guard_float guard_int guard_or_false "
            "guard_or_true guard_scalar guard_size_oblivious guarding_hint_or_throw has_free_symbols "
            "has_free_unbacked_symbols has_guarding_hint has_static_value has_symbolic_sizes_strides "
            "is_accessor_node is_concrete_bool is_concrete_float is_concrete_int is_nested_int "
            "is_symbol_binding_fx_node is_symbolic log_lru_cache_stats lru_cache optimization_hint "
            "rebind_unbacked resolve_unbacked_bindings safe_expand statically_known_false "
            "statically_known_true sym_and sym_eq sym_or uninteresting_files"
        ),
        "fx.graph": "PythonCode",
        "fx.graph_module": "reduce_graph_module reduce_package_graph_module",
        "fx.interpreter": "Interpreter Transformer",
        "fx.node": "ArgumentT",
        "fx.operator_schemas": (
            "ArgsKwargsPair check_for_mutable_operation create_type_hint get_signature_for_torch_op "
            "normalize_function normalize_module type_matches"
        ),
        "fx.passes.shape_prop": "ShapeProp TensorMetadata",
        "fx.proxy": "Attribute MetaProxy Scope ScopeContextManager TracerBase assert_fn",
        "fx.traceback": (
            "NodeSource NodeSourceAction get_current_replay_node get_graph_provenance_json "
            "set_current_replay_node"
        ),
        "nn.attention.flex_attention": "FlexKernelOptions",
        "nn.attention.varlen": "AuxRequest varlen_attn varlen_attn_out",
        "nn.utils.spectral_norm": "SpectralNormLoadStateDictPreHook",
        "return_types": "pytree_register_structseq",
    },
    "kernels": {
        "library": (
            "fallthrough_kernel get_ctx get_kernel infer_schema opcheck register_autocast "
            "register_torch_dispatch wrap_triton"
        ),
        "utils.cpp_extension": (
            "SyclExtension check_compiler_is_gcc check_compiler_ok_for_platform "
            "get_compiler_abi_compatibility_and_version get_cxx_compiler get_default_build_root "
            "include_paths is_ninja_available library_paths remove_extension_h_precompiler_headers "
            "verify_ninja_availability"
        ),
    },
    "onnx": {
        "onnx": "ExportableModule InputObserver ONNXProgram OnnxExporterError",
        "onnx.errors": "OnnxExporterWarning SymbolicValueError UnsupportedOperatorError",
        "onnx.operators": "reshape_from_tensor_shape",
        "onnx.symbolic_helper": (
            "args_have_same_dtype cast_pytorch_to_onnx check_training_mode dequantize_helper "
            "is_complex_value pytorch_name_to_type quantize_helper quantized_args requantize_bias_helper "
            "scalar_name_to_pytorch scalar_type_to_onnx scalar_type_to_pytorch_type"
        ),
        "onnx.utils": (
            "disable_apex_o2_state_dict_hook export exporter_context model_signature "
            "register_custom_op_symbolic select_model_mode_for_export setup_onnx_logging "
            "unconvertible_ops unpack_quantized_tensor unregister_custom_op_symbolic "
            "warn_on_static_input_change"
        ),
        "onnx.verification": "VerificationInfo verify_onnx_program",
    },
    "processes": {
        "multiprocessing.queue": "ConnectionWrapper Queue SimpleQueue",
        "multiprocessing.reductions": (
            "SharedCache StorageWeakRef fd_id init_reductions rebuild_cuda_tensor rebuild_event "
            "rebuild_meta_tensor rebuild_nested_tensor rebuild_sparse_compressed_tensor "
            "rebuild_sparse_coo_tensor rebuild_storage_empty rebuild_storage_fd rebuild_storage_filename "
            "rebuild_tensor rebuild_typed_storage rebuild_typed_storage_child reduce_event "
            "reduce_nested_tensor reduce_sparse_tensor reduce_storage reduce_tensor reduce_typed_storage "
            "reduce_typed_storage_child shared_cache storage_from_cache"
        ),
        "multiprocessing.spawn": "ProcessException SpawnContext",
        "nn.parallel": "DistributedDataParallelCPU",
        "nn.parallel.comm": "broadcast broadcast_coalesced gather reduce_add reduce_add_coalesced scatter",
        "nn.parallel.parallel_apply": "get_a_var",
        "utils.data": "DFIterDataPipe DataChunk",
    },
    "quantized": {
        "": (
            "QUInt2x4Storage QUInt4x2Storage choose_qparams_optimized "
            "fbgemm_linear_fp16_weight_fp32_activation fbgemm_linear_int8_weight_fp32_activation "
            "fused_moving_avg_obs_fake_quant"
        ),
        "ao.nn.intrinsic": "ConvAdd2d ConvAddReLU2d LinearLeakyReLU LinearTanh",
        "ao.nn.quantizable": "LSTM LSTMCell MultiheadAttention",
        "ao.nn.quantized": "FXFloatFunctional",
        "ao.pruning": (
            "BaseScheduler BaseSparsifier CubicSL FakeSparsity LambdaSL NearlyDiagonalSparsifier "
            "WeightNormSparsifier fqn_to_module get_arg_info_from_tensor_fqn "
            "get_dynamic_sparse_quantized_mapping get_static_sparse_quantized_mapping module_to_fqn"
        ),
        "ao.quantization": (
            "AffineQuantizedObserverBase FixedQParamsFakeQuantize FixedQParamsObserver "
            "FusedMovingAvgObsFakeQuantize Granularity MappingType MatchAllNode ObserverOrFakeQuantize "
            "Pattern PerAxis PerBlock PerGroup PerRow PerTensor PerToken QConfigAny QConfigDynamic "
            "QuantType ReuseInputObserver TorchAODType UniformQuantizationObserverBase ZeroPointDomain "
            "convert_dynamic_jit convert_jit default_affine_fixed_qparams_fake_quant "
            "default_affine_fixed_qparams_observer default_debug_observer default_dynamic_fake_quant "
            "default_dynamic_quant_observer default_embedding_fake_quant "
            "default_embedding_fake_quant_4bit default_eval_fn default_fake_quant "
            "default_fixed_qparams_range_0to1_fake_quant default_fixed_qparams_range_0to1_observer "
            "default_fixed_qparams_range_neg1to1_fake_quant default_fixed_qparams_range_neg1to1_observer "
            "default_float_qparams_observer default_float_qparams_observer_4bit "
            "default_fused_act_fake_quant default_fused_per_channel_wt_fake_quant "
            "default_fused_wt_fake_quant default_histogram_fake_quant default_histogram_observer "
            "default_observer default_per_channel_weight_fake_quant default_per_channel_weight_observer "
            "default_placeholder_observer default_reuse_input_observer "
            "default_symmetric_fixed_qparams_fake_quant default_symmetric_fixed_qparams_observer "
            "default_weight_fake_quant default_weight_observer fuse_conv_bn fuse_conv_bn_jit "
            "fuse_conv_bn_relu fuse_convtranspose_bn fuse_linear_bn "
            "fused_per_channel_wt_fake_quant_range_neg_127_to_127 "
            "fused_wt_fake_quant_range_neg_127_to_127 get_block_size get_combined_dict "
            "get_default_compare_output_module_list get_default_custom_config_dict "
            "get_default_dynamic_quant_module_mappings get_default_dynamic_sparse_quant_module_mappings "
            "get_default_float_to_quantized_operator_mappings get_default_qat_module_mappings "
            "get_default_qat_qconfig_dict get_default_qconfig_dict get_default_qconfig_propagation_list "
            "get_default_static_quant_module_mappings get_default_static_quant_reference_module_mappings "
            "get_default_static_sparse_quant_module_mappings get_dynamic_quant_module_class "
            "get_embedding_qat_module_mappings get_embedding_static_quant_module_mappings "
            "get_fuser_method get_fuser_method_new get_observer_state_dict get_quantized_operator "
            "get_static_quant_module_class load_observer_state_dict no_observer_set "
            "per_channel_weight_observer_range_neg_127_to_127 prepare_dynamic_jit prepare_jit "
            "qconfig_equals quantize_dynamic_jit quantize_jit script_qconfig script_qconfig_dict "
            "weight_observer_range_neg_127_to_127"
        ),
        "ao.quantization.quantize_fx": (
            "BackendConfig ConvertCustomConfig FuseCustomConfig GraphModule ObservedGraphModule "
            "PrepareCustomConfig QConfigMapping QuantizationTracer Scope ScopeContextManager "
            "attach_preserved_attrs_to_model convert convert_fx convert_to_reference_fx fuse fuse_fx "
            "get_custom_module_class_keys get_skipped_module_name_and_classes get_tensorrt_backend_config "
            "prepare prepare_fx prepare_qat_fx"
        ),
        "nn.quantizable": "LSTM LSTMCell MultiheadAttention",
        "nn.quantized": "FXFloatFunctional",
        "quantization": (
            "QuantType WeightObserver _convert_ondevice_dynamic_jit _prepare_ondevice_dynamic_jit "
            "_quantize_ondevice_dynamic_jit default_eval_fn default_fake_quant "
            "default_fixed_qparams_range_0to1_fake_quant default_fixed_qparams_range_neg1to1_fake_quant "
            "default_histogram_fake_quant default_observer default_per_channel_weight_fake_quant "
            "default_per_channel_weight_observer default_placeholder_observer default_weight_fake_quant "
            "default_weight_observer float16_dynamic_qconfig get_default_compare_output_module_list "
            "get_default_dynamic_quant_module_mappings get_default_qat_module_mappings "
            "get_default_qconfig_propagation_list get_default_static_quant_module_mappings "
            "get_fuser_method get_quantized_operator get_static_quant_module_class quantize_dynamic_jit "
            "quantize_jit"
        ),
    },
    "script": {
        "": (
            "AVG AcceleratorError AggregationType AliasDb AnyType Argument ArgumentSpec AwaitType "
            "BenchmarkConfig BenchmarkExecutionStats Block BoolType BufferDict CallStack Capsule "
            "ClassType Code CompleteArgumentSpec ComplexType ConcreteModuleType ConcreteModuleTypeBuilder "
            "DeepCopyMemoTable DeserializationStorageContext DeviceObjType DictType DisableTorchFunction "
            "DisableTorchFunctionSubclass DispatchKeySet EnumType ErrorReport ExcludeDispatchKeyGuard "
            "ExecutionPlan FatalError FileCheck FloatType FunctionSchema FutureType Gradient Graph "
            "GraphExecutorState IODescriptor InferredType IntType InterfaceType JITException ListType "
            "LiteScriptModule LockingLogger ModuleDict Node NoneType NoopLogger NumberType OperatorInfo "
            "OptionalType ParameterDict PyObjectType RRefType ScriptClass ScriptClassFunction ScriptDict "
            "ScriptDictIterator ScriptDictKeyIterator ScriptList ScriptListIterator ScriptMethod "
            "ScriptModuleSerializer ScriptObject ScriptObjectProperty SerializationStorageContext "
            "StaticModule StreamObjType StringType SymBoolType SymIntType Tag TensorType "
            "ThroughputBenchmark TracingState TupleType Type UnionType Use Value fork import_ir_module "
            "import_ir_module_from_buffer merge_type_from_type_comment parse_ir parse_schema "
            "parse_type_comment sym_constrain_range sym_constrain_range_for_size sym_fresh_size "
            "unify_type_list wait"
        ),
        "_jit_internal": (
            "BroadcastingList1 BroadcastingList2 BroadcastingList3 BroadcastingList4 BroadcastingList5 "
            "BroadcastingList6 BroadcastingListCls CAwait CFuture FunctionModifiers Future HasGetattr "
            "PyRRef RRef SourceLoader boolean_dispatch can_compile_class check_args_exist "
            "check_empty_containers container_checker copy_torchscript_modifier "
            "createResolutionCallbackForClassMethods createResolutionCallbackFromClosure "
            "createResolutionCallbackFromEnv createResolutionCallbackFromFrame export fake_range "
            "get_annotation_str get_callable_argument_names get_class_name_lineno get_closure "
            "get_overload_no_implementation_error_message get_source_lines_and_file get_static_fn "
            "get_torchscript_modifier get_type_hint_captures i ignore is_await is_dict is_final is_future "
            "is_ignored_fn is_list is_optional is_rref is_rref_instance is_scripting is_static_fn "
            "is_tuple is_union loader module_has_exports parse_def "
            "raise_error_container_parameter_missing should_drop unused"
        ),
        "jit": "Future export_opnames",
        "testing": "FileCheck",
        "utils.bundled_inputs": (
            "InflatableArg ListType MAX_RAW_TENSOR_SIZE TupleType "
            "augment_many_model_functions_with_bundled_inputs augment_model_with_bundled_inputs "
            "bundle_inputs bundle_large_tensor bundle_randn wrap_cpp_module"
        ),
        "utils.mobile_optimizer": "LintCode MobileOptimizerType",
    },
    "sparse": {
        "": (
            "ccol_indices_copy col_indices_copy crow_indices_copy indices_copy row_indices_copy "
            "values_copy"
        ),
        "cuda.sparse": (
            "BFloat16Tensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor "
            "LongTensor ShortTensor"
        ),
        "sparse": "SparseSemiStructuredTensorCUSPARSELT SparseSemiStructuredTensorCUTLASS solve",
        "sparse.semi_structured": (
            "SparseSemiStructuredTensor SparseSemiStructuredTensorCUSPARSELT "
            "SparseSemiStructuredTensorCUTLASS to_sparse_semi_structured"
        ),
    },
    "tool": {
        "autograd.profiler": "EnforceUnique FunctionEvent MemRecordsAcc load_nvprof parse_nvprof_trace",
        "monitor": (
            "Aggregation Event EventHandlerHandle Stat TensorboardEventHandler data_value_t "
            "register_event_handler"
        ),
        "utils.benchmark": (
            "Colorize CopyIfCallgrind FunctionCount FunctionCounts FuzzedParameter FuzzedSparseTensor "
            "FuzzedTensor Language ParameterAlias TaskSpec ordered_unique select_unit set_torch_threads "
            "timer trim_sigfig unit_to_english"
        ),
        "utils.checkpoint": "GraphExecGroup",
        "utils.dlpack": "DLDeviceType",
        "utils.file_baton": "FileBaton",
        "utils.flop_counter": (
            "addmm_flop baddbmm_flop bmm_flop conv_backward_flop conv_flop conv_flop_count "
            "convert_num_with_suffix convert_to_percent_str get_shape get_suffix_str mm_flop "
            "normalize_tuple register_flop_formula sdpa_backward_flop sdpa_backward_flop_count sdpa_flop "
            "sdpa_flop_count shape_wrapper"
        ),
        "utils.throughput_benchmark": "ExecutionStats ThroughputBenchmark format_time",
    },
}


def refusals(reasons: dict[str, str]) -> dict[str, dict[str, Any]]:
    """A row for each name: classes in capitals and functions, which tell one of the reasons."""
    rows: dict[str, dict[str, Any]] = {}
    for reason, modules in _NAMES.items():
        for module, names in modules.items():
            own = rows.setdefault(f"lazygrad.{module}".rstrip("."), {})
            for name in names.split():
                make = kind if name.lstrip("_")[:1].isupper() else refused
                own[name] = make(f"{module}.{name}".lstrip("."), reasons[reason])
    return rows
