# What pip puts into the package's folder: the core in lib/, plugins where the core looks for them, the launcher in bin/. All of it finds the rest
# relative to itself. A wheel knows no links, so the core has one name, the one that programs load.
set_target_properties(horovod_cpp PROPERTIES VERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
set_target_properties(hvd_python PROPERTIES INSTALL_RPATH $ORIGIN/lib)
set_target_properties(hvd_check_build PROPERTIES INSTALL_RPATH $ORIGIN/../lib)
add_custom_target(hvd_wheel)
add_dependencies(hvd_wheel hvd_python hvdrun hvd_check_build)
install(TARGETS hvd_python LIBRARY DESTINATION . COMPONENT python)
install(TARGETS horovod_cpp LIBRARY DESTINATION lib COMPONENT python NAMELINK_SKIP)
install(TARGETS hvdrun hvd_check_build RUNTIME DESTINATION bin COMPONENT python)
foreach(plugin hvd_mpi hvd_cuda)
  if(TARGET ${plugin})
    add_dependencies(hvd_wheel ${plugin})
    # An MPI that is not in a folder of the system is found where it was when the plugin was built.
    set_target_properties(${plugin} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
    install(TARGETS ${plugin} LIBRARY DESTINATION lib/horovod_cpp COMPONENT python)
  endif()
endforeach()
